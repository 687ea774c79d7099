// A reporter beside node's own: what tests/conftest.py does for pytest, for the JavaScript tests. A test that skips
// with a reason that begins with "NOT RUN: " is listed in a block that nobody can overlook, and fails the run where CI is
// set. A run in which no test passed or failed has failed.
import { appendFileSync } from 'node:fs';
import { relative } from 'node:path';

const NOT_RUN = 'NOT RUN: ';

export default async function* notRun(events) {
  const inCi = !['', '0', 'false'].includes((process.env.CI ?? '').toLowerCase());
  const lines = [];
  let executed = 0;
  for await (const { type, data } of events) {
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    const file = data.file ? relative(process.cwd(), data.file) : '';
    if (typeof data.skip === 'string' && data.skip.startsWith(NOT_RUN)) {
      lines.push(`${file}: ${data.name}: ${data.skip.slice(NOT_RUN.length)}`);
    }
    const skipped = data.skip !== undefined && data.skip !== false;
    const isOnlyAFile = data.name === file; // node reports a file without tests as one test that passed
    if (!skipped && !isOnlyAFile && data.details?.type !== 'suite') executed += 1;
  }
  if (executed === 0) {
    process.exitCode = 1;
    yield '!!!!!!!!!!!!!!!! NO JAVASCRIPT TEST WAS EXECUTED !!!!!!!!!!!!!!!!\n';
  }
  if (lines.length === 0) return;
  yield `!!!!!!!!!!!!!!!! ${lines.length} NOT RUN !!!!!!!!!!!!!!!!\n${lines.join('\n')}\n`;
  if (inCi) {
    process.exitCode = 1;
    yield 'CI is set, so this run has failed: a CI must run every test.\n';
  }
  if (process.env.NOT_RUN_REPORT) appendFileSync(process.env.NOT_RUN_REPORT, `${lines.join('\n')}\n`);
}
