import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const TSC = `${ROOT}/node_modules/typescript/bin/tsc`;

function run(...argv) {
  assert.ok(existsSync(TSC), "TypeScript is not in node_modules: make setup-dev installs it");
  const { status, stdout, stderr } = spawnSync(process.execPath, argv, { cwd: ROOT, encoding: "utf8" });
  assert.equal(status, 0, `${stdout}${stderr}`);
}

test("the client and the pages have no type errors", () => run(TSC, "-p", "client/js"));

test("the types that users get are those of the modules and of the published contract", () =>
  run("client/js/generate-types.mjs", "--check"));

test("a user's TypeScript is checked against them", () => run(TSC, "-p", "tests/client/js"));
