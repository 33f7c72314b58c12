// Detection on bare slides, started from the page.

import { json, send } from "./api.js";
import { el } from "./dom.js";

export class DetectBox {
  constructor(page) {
    this.page = page;
    this.job = el("p", { class: "soft", role: "status" }, "");
    this.bar = el("progress", { max: "1", value: "0", hidden: true, "aria-label": "Detection" });
    this.start = el("button", { type: "button", class: "main", onclick: () => this._start() }, "Detect mitotic figures");
    this.node = el("section", {}, el("h2", {}, "Detect"), this.start, this.bar, this.job);
    json("/api/detect").then((state) => this._told(state)).catch(() => {});
  }

  async _start() {
    try {
      this._told(await send("/api/detect", {}));
    } catch (error) {
      this.page.say(error.message, true);
    }
  }

  _told(state) {
    this.start.disabled = state.state === "running";
    this.bar.hidden = state.state !== "running";
    if (state.share === null) this.bar.removeAttribute("value");
    else this.bar.value = state.share;
    this.job.textContent = state.words;
    if (state.state === "running") setTimeout(() => json("/api/detect").then((next) => this._told(next)).catch((error) => this.page.say(error.message, true)), 700);
    if (state.state === "done") location.reload();
  }
}
