// The stream of the region's tests and benches: every event of the probe breaks its rule.
export const PROBE_PARTITIONS = 8
const T0 = 1_760_000_000_000

export const probeStream = {
  stream: "probe",
  source: { topic: "probe", format: "json", partitions: PROBE_PARTITIONS },
  identity: { device: "device", time: "ts" },
  fields: { load: { type: "number" } },
  windows: [{ name: "count10s", over: "10s", count: true }],
  alerts: { budget: "1 in 500 events", quiet: "15s" },
  ladder: ["baseline", "rules"],
  rules: [{ name: "tooHigh", when: "event.load > 500", then: "alert", severity: "high" }]
} as const

export const probeEvent = (device: string, n: number) => ({ device, ts: T0 + n * 10, load: 600 })
