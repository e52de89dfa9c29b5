// The viewer's choice of colours, before the first paint. Without a choice the system's holds.
(() => {
  const kept = localStorage.getItem("jevons-theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
})();
