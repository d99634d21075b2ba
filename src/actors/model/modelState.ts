// The life of a model version: registered → active → retired, and back to active. Pure.
import type { ModelVersionRecord } from "../../schema/protocol/ModelProtocol.ts"

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
