// What the server can't do: the viewer's zone, the choice of colours, the menu on narrow screens, live figures.
"use strict";

const FORMS = {
  full: new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" }),
  time: new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" }),
  day: new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" }),
};

function localise(root) {
  for (const each of root.querySelectorAll("[data-at]")) {
    const at = new Date(Number(each.dataset.at) * 1000);
    const form = FORMS[each.dataset.form] || FORMS.full;
    each.textContent = form.format(at);
    if (each.tagName === "TIME") each.title = at.toISOString();
  }
}

function themeToggle() {
  const button = document.querySelector("[data-theme-toggle]");
  if (!button) return;
  const order = ["auto", "light", "dark"];
  const show = (name) => {
    button.textContent = `Colours: ${name}`;
    button.setAttribute("aria-label", `Colours: ${name === "auto" ? "automatic" : name}`);
  };
  show(localStorage.getItem("jevons-theme") || "auto");
  button.addEventListener("click", () => {
    const now = localStorage.getItem("jevons-theme") || "auto";
    const next = order[(order.indexOf(now) + 1) % order.length];
    if (next === "auto") {
      localStorage.removeItem("jevons-theme");
      delete document.documentElement.dataset.theme;
    } else {
      localStorage.setItem("jevons-theme", next);
      document.documentElement.dataset.theme = next;
    }
    show(next);
  });
}

function menu() {
  const button = document.querySelector("button.menu");
  if (!button) return;
  const nav = document.getElementById("nav");
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(open));
    nav.classList.toggle("open", open);
  });
}

function live() {
  const place = document.querySelector("[data-live]");
  if (!place) return;
  const state = document.getElementById("live-state");
  let stream = null;
  const open = () => {
    stream = new EventSource(place.dataset.live);
    stream.onmessage = (event) => {
      const shown = [...place.querySelectorAll("details[open]")].map((each) => each.parentElement.getAttribute("aria-labelledby"));
      const focused = document.activeElement && place.contains(document.activeElement);
      if (focused) return; // never take the ground from under a keyboard
      place.innerHTML = event.data;
      for (const id of shown) {
        const section = place.querySelector(`[aria-labelledby="${CSS.escape(id)}"] details`);
        if (section) section.open = true;
      }
      localise(place);
      state.textContent = "";
    };
    stream.onerror = () => { state.textContent = "The live figures are interrupted; they go on by themselves."; };
  };
  const close = () => { if (stream) stream.close(); stream = null; };
  document.addEventListener("visibilitychange", () => { close(); if (!document.hidden) open(); });
  addEventListener("pagehide", close);
  open();
}

localise(document);
themeToggle();
menu();
live();
