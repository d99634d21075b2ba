// Streams, alerts and models that the tests of inspect/ talk about.
import { Schema } from "effect"
import type { ModelVersionRecord } from "../../../src/schema/protocol/ModelProtocol.ts"
import { StreamDefinition } from "../../../src/schema/stream/StreamDefinition.ts"
import { Alert } from "../../../src/schema/verdict/Alert.ts"
import type { Incident } from "../../../src/schema/verdict/Incident.ts"

export const flows = Schema.decodeUnknownSync(StreamDefinition)({
  stream: "flows",
  source: { topic: "flows", partitions: 4 },
  identity: { device: "device", time: "ts", id: "id" },
  fields: {
    bytesIn: { type: "number", scale: "log" },
    up: { type: "boolean" },
    proto: { type: "category" }
  },
  score: { timeout: "80ms" }
})

export const clouds = Schema.decodeUnknownSync(StreamDefinition)({
  stream: "clouds",
  source: { topic: "clouds", format: "cloudevents", partitions: 2 },
  identity: { device: "subject", time: "time", id: "id" },
  fields: { load: { type: "number" } }
})

export const digest = `sha256:${"ab".repeat(32)}`

export const alertOf = (n: number, device = "pump-1"): Alert =>
  Schema.decodeUnknownSync(Alert)({
    id: `flows.0.${n}.energy`,
    stream: "flows",
    partition: 0,
    offset: n,
    device,
    time: 1_700_000_000_000 + n,
    recordTime: 1_700_000_000_000 + n,
    severity: "high",
    rule: null,
    escalated: false,
    path: "baseline",
    model: null,
    energy: 12.5,
    pvalue: 0.00001,
    threshold: 9,
    contributions: [{ feature: "bytesIn", energy: 11, observed: 9, expected: 2 }],
    prototype: null,
    quarantined: false,
    summary: "bytesIn is 9, expected 2"
  })

export const incident: Incident = {
  id: "inc-flows.0.1.energy",
  stream: "flows",
  device: "pump-1",
  status: "open",
  severity: "high",
  openedAt: 1_700_000_000_001,
  lastAlertAt: 1_700_000_000_002,
  resolvedAt: null,
  alerts: 2,
  firstAlert: "flows.0.1.energy",
  lastAlert: "flows.0.2.energy",
  peakEnergy: 12.5,
  summary: "2 alerts",
  label: null
}

export const model: ModelVersionRecord = {
  digest,
  name: "flows",
  state: "active",
  stream: "flows",
  createdAt: "2026-01-01T00:00:00Z",
  activatedAt: 1,
  retiredAt: null,
  features: 3,
  prototypes: 2,
  trainingRows: 100,
  cells: [{ partition: 0, offset: 0, epoch: 1 }],
  version: 1
}
