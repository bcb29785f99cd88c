// Calls methods of alloy-node one after the other, as [["method", argument, ...], ...] on stdin, and prints what each gave.
"use strict";
const Alloy = require("alloy-node");

let text = "";
process.stdin.on("data", (chunk) => (text += chunk));
process.stdin.on("end", async () => {
  const alloy = new Alloy(process.env.ALLOY_KEY);
  const results = [];
  for (const [method, ...given] of JSON.parse(text)) {
    try {
      results.push({ gave: await alloy[method](...given), userId: alloy.userId });
    } catch (thrown) {
      results.push({ thrown: thrown instanceof Error ? `${thrown.stack}` : thrown });
    }
  }
  process.stdout.write(JSON.stringify(results));
});
