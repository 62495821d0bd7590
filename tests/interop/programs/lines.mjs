// One line of JSON in for each request, one line of JSON out for its answer; the first line out says the version.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

export async function serve(name, ask) {
  const module = import.meta.resolve(name);
  const folder = module.slice(0, module.indexOf(`/${name}/`) + name.length + 2);
  tell({ version: JSON.parse(readFileSync(new URL("package.json", folder), "utf8")).version });
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      tell(await ask(JSON.parse(line)));
    } catch (error) {
      tell({ raised: `${error.name}: ${error.message}` });
    }
  }
}

function tell(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
