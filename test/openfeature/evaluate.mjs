// Evaluates flags as an application does: with the OpenFeature SDK and its OFREP provider.
//
//   node evaluate.mjs --url http://127.0.0.1:9470 --token TOKEN [--api-key] [--default true|false]
//                     [--watch] [--every MILLISECONDS] FLAG …
//
// Each evaluation is one line of JSON. --api-key sends the token as X-API-Key. --watch evaluates
// again and again, prints a line for each flag at first and then one for each change, and ends
// with its standard input.
import { parseArgs } from "node:util";
import { OpenFeature } from "@openfeature/server-sdk";
import { OFREPProvider } from "@openfeature/ofrep-provider";

const { values: options, positionals: flags } = parseArgs({
  allowPositionals: true,
  options: {
    url: { type: "string" },
    token: { type: "string", default: "" },
    "api-key": { type: "boolean", default: false },
    default: { type: "string", default: "false" },
    watch: { type: "boolean", default: false },
    every: { type: "string", default: "100" },
  },
});
if (!options.url || flags.length === 0) {
  console.error("usage: node evaluate.mjs --url URL --token TOKEN [--api-key] [--default true|false] [--watch] [--every MS] FLAG …");
  process.exit(2);
}

const header = options["api-key"] ? ["X-API-Key", options.token] : ["Authorization", `Bearer ${options.token}`];
await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: options.url, headers: [header] }));
OpenFeature.setLogger({ error() {}, warn() {}, info() {}, debug() {} }); // errors are in the lines
const client = OpenFeature.getClient();

async function evaluate(flag) {
  const d = await client.getBooleanDetails(flag, options.default === "true", { targetingKey: "user-1", plan: "pro" });
  return {
    flag: d.flagKey, value: d.value, reason: d.reason, variant: d.variant, metadata: d.flagMetadata,
    error: d.errorCode, message: d.errorMessage,
  };
}

function print(line) {
  console.log(JSON.stringify(line));
}

if (!options.watch) {
  for (const flag of flags) print(await evaluate(flag));
} else {
  let running = true;
  process.stdin.on("end", () => { running = false; }).resume();
  const last = new Map();
  while (running) {
    for (const flag of flags) {
      const line = await evaluate(flag);
      const text = JSON.stringify(line);
      if (last.get(flag) !== text) print({ at: new Date().toISOString(), ...line });
      last.set(flag, text);
    }
    await new Promise((done) => setTimeout(done, Number(options.every)));
  }
}
await OpenFeature.close();
