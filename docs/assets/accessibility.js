// What the theme leaves out: names for the buttons of code, and wide tables that the keyboard scrolls.
window.addEventListener("load", () => {
  document.querySelectorAll(".md-code__nav").forEach((buttons, index) => {
    buttons.ariaLabel = `Code ${index + 1}`;
  });
  for (const table of document.querySelectorAll(".md-typeset__scrollwrap")) table.tabIndex = 0;
});
