// The life of a model version: registered → active → retired, and back to active. Pure.
import type { Manifest } from "../../schema/model/Manifest.ts"
import type { ModelVersionRecord } from "../../schema/protocol/ModelProtocol.ts"

/** A version that is in the store and nothing more; version 0 is not stored yet. */
export const registered = (digest: string, manifest: Manifest): ModelVersionRecord => ({
  digest,
  name: manifest.name,
  state: "registered",
  stream: manifest.input.kind === "stream" ? manifest.input.stream : null,
  createdAt: manifest.createdAt,
  activatedAt: null,
  retiredAt: null,
  features: manifest.features.length,
  prototypes: manifest.training.prototypes,
  trainingRows: manifest.training.rows,
  cells: [],
  version: 0
})

export const activated = (
  record: ModelVersionRecord,
  stream: string,
  cells: ModelVersionRecord["cells"],
  now: number
): ModelVersionRecord => ({
  ...record,
  state: "active",
  stream,
  activatedAt: now,
  retiredAt: null,
  cells,
  version: record.version + 1
})

export const retired = (record: ModelVersionRecord, now: number): ModelVersionRecord => ({
  ...record,
  state: "retired",
  retiredAt: now,
  version: record.version + 1
})
