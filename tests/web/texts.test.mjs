import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import texts from "../../web/js/texts.en.js";

for (const page of ["index.html", "leaderboard.html"]) {
  const html = readFileSync(new URL(`../../web/${page}`, import.meta.url), "utf8");

  test(`${page} says before the script has run what it says afterwards`, () => {
    const written = [...html.matchAll(/ data-text="(\w+)">([^<]*)</g)];
    assert.ok(written.length >= 2);
    for (const [, key, text] of written) {
      assert.equal(text, texts[key]);
    }
    for (const [, label, key] of html.matchAll(/ aria-label="([^"]*)" data-label="(\w+)"/g)) {
      assert.equal(label, texts[key]);
    }
    for (const [, period, text] of html.matchAll(/ data-period="([a-z-]+)"[^>]*>([^<]*)</g)) {
      assert.equal(text, texts.board[period]);
    }
  });

  test(`${page} has nothing inline that its content security policy would refuse`, () => {
    assert.doesNotMatch(html, /<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc="\/static\/)|javascript:/);
    assert.doesNotMatch(html.replace("http://www.w3.org/2000/svg", ""), /https?:\/\//);
  });
}
