import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { pick } from "../../web/js/language-choice.js";
import texts from "../../web/js/texts.en.js";
import uk from "../../web/js/texts.uk.js";

for (const page of ["index.html", "leaderboard.html", "play.html", "admin.html"]) {
  const html = readFileSync(new URL(`../../web/${page}`, import.meta.url), "utf8");

  test(`${page} says before the script has run what it says afterwards`, () => {
    const written = [...html.matchAll(/ data-text="(\w+)">([^<]*)</g)];
    assert.ok(written.length >= 1);
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

/** Every key with what it is, so that two languages can be laid side by side. */
function shape(value, path = "") {
  if (typeof value !== "object") {
    return [`${path}: ${typeof value}`];
  }
  return Object.entries(value).flatMap(([key, inner]) => shape(inner, `${path}.${key}`));
}

test("Ukrainian says everything that English says", () => {
  assert.deepEqual(shape(uk).sort(), shape(texts).sort());
});

test("Ukrainian counts as Ukrainians do", () => {
  assert.equal(uk.players(1, "1"), "1 гравець");
  assert.equal(uk.players(3, "3"), "3 гравці");
  assert.equal(uk.players(11, "11"), "11 гравців");
  assert.equal(uk.games.sequence.result(22), "Ви повторили 22 плитки поспіль.");
});

test("a page speaks the chosen language, or else the browser's, or else English", () => {
  assert.equal(pick(["en", "uk"], null, ["uk-UA", "en"]), "uk");
  assert.equal(pick(["en", "uk"], "en", ["uk-UA", "en"]), "en");
  assert.equal(pick(["en", "uk"], null, ["de-AT"]), "en");
  assert.equal(pick(["en", "uk"], "xx", []), "en");
});
