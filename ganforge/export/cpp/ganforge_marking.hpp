// XMP metadata that mark a picture as generated, as those of `ganforge sample`. Requires only the standard library.

#pragma once

#include <cstdint>
#include <string>

#include "ganforge_about.hpp"

namespace ganforge {

namespace detail {

// Escapes a text for an XML attribute.
inline std::string escape_xml(const std::string& text) {
  std::string escaped;
  for (const char each : text) {
    switch (each) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '"': escaped += "&quot;"; break;
      default: escaped += static_cast<unsigned char>(each) < ' ' ? ' ' : each;
    }
  }
  return escaped;
}

}  // namespace detail

// Returns the XMP packet of a picture of `count` images, the first of `seed`: that it was generated, by which version
// of ganforge, generator and weights, and from which seeds. Properties of the IPTC Photo Metadata Standard 2025.1.
inline std::string xmp_packet(const About& about, std::int64_t seed, std::int64_t count) {
  std::string packet =
      "<?xpacket begin=\"\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?><x:xmpmeta xmlns:x=\"adobe:ns:meta/\">"
      "<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\"><rdf:Description rdf:about=\"\""
      " xmlns:xmp=\"http://ns.adobe.com/xap/1.0/\""
      " xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\"";
  const auto add = [&packet](const std::string& name, const std::string& value) {
    packet += " " + name + "=\"" + detail::escape_xml(value) + "\"";
  };
  if (about.has("exported")) add("xmp:CreatorTool", about.list("exported").front());  // "ganforge 0.1.0"
  add("Iptc4xmpExt:DigitalSourceType", "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia");
  add("Iptc4xmpExt:AISystemUsed", "ganforge " + about.text("generator"));
  if (about.has("digest")) add("Iptc4xmpExt:AISystemVersionUsed", "sha256:" + about.text("digest"));
  const auto first = std::to_string(seed);
  add("Iptc4xmpExt:AIPromptInformation",
      count == 1 ? "seed " + first : "seeds " + first + "-" + std::to_string(seed + count - 1));
  return packet + "/></rdf:RDF></x:xmpmeta><?xpacket end=\"r\"?>";
}

}  // namespace ganforge
