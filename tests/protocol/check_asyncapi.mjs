// Says what is wrong with the AsyncAPI document on standard input, by the official parser.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const diagnostics = await new Parser().validate(readFileSync(0, "utf8"));
const problems = diagnostics.filter(({ severity }) => severity <= 1);
console.log(problems.length === 0 ? "valid" : problems.map(({ message, path }) => `${path.join(".")}: ${message}`).join("\n"));
