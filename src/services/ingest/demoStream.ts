// The stream that the simulated devices speak: what `groundstate demo` serves, and an example to start from.
import type { StreamDefinition } from "../../schema/stream/StreamDefinition.ts"

/**
 * The definition as a person would write it; decode it with `StreamDefinition`. `deploy/examples/demo.yaml`
 * is this object with comments, and a test holds the two equal.
 */
export const demoStream: typeof StreamDefinition.Encoded = {
  stream: "demo",
  description: "Simulated pumps, freezers, gateways and turnstiles, one report per device and minute.",
  source: { topic: "demo", format: "json", partitions: 4 },
  identity: { device: "device", time: "ts", timeUnit: "ms", id: "id" },
  lateness: "60s",
  ahead: "60s",
  fields: {
    temperature: { type: "number" },
    vibration: { type: "number" },
    current: { type: "number" },
    bytesOut: { type: "number", scale: "log" },
    latency: { type: "number", scale: "log" },
    kind: { type: "category", size: 16 },
    mode: { type: "category", size: 256 },
    firmware: { type: "category", size: 1024 },
    errorCode: { type: "category", size: 1024 }
  },
  windows: [
    { name: "count5m", over: "5m", count: true },
    { name: "bytes15m", over: "15m", sum: "bytesOut" }
  ],
  baseline: { halfLife: "1d" },
  model: { name: "demo", alias: "champion" },
  ladder: ["deep", "fast", "baseline", "rules"],
  alerts: { budget: "1 in 50000 events", quiet: "10m" },
  score: { timeout: "100ms" },
  rules: [{ name: "overheated", when: "event.temperature > 120.0", then: "alert", severity: "critical" }]
}
