// What the theme leaves out: names for the search and the buttons of code, and wide tables and formulas that the keyboard scrolls.
window.addEventListener("load", () => {
  document.querySelectorAll(".md-code__nav").forEach((buttons, index) => {
    buttons.ariaLabel = `Code ${index + 1}`;
  });
  document.querySelector(".md-search").ariaLabel = "Search";
  for (const wide of document.querySelectorAll(".md-typeset__scrollwrap, div.arithmatex")) wide.tabIndex = 0;
});
