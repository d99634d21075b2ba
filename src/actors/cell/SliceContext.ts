// What one run of a cell hands to everything that happens within it.
import type { CellDoing } from "../../schema/error/CellError.ts"
import type { Fenced, StorageUnavailable } from "../../schema/error/StorageError.ts"
import type { Metrics } from "../../services/observe/Metrics.ts"
import type { RunnerConfig } from "../../services/runtime/Settings.ts"
import type { CellKey, Checkpoint, RecordedCommand } from "../../services/state/Checkpoint.ts"
import type { Askers } from "./askers.ts"
import type { CellCore } from "./cellCore.ts"
import type { Emitter } from "./Emitter.ts"
import type { CellModel } from "./Models.ts"
import type { RecentScores } from "./recentScores.ts"

/** Events by what became of them, since this owner started. */
export interface CellCounters {
  scored: number
  /** Of the scored: judged by the second of two stages. */
  secondStage: number
  alerts: number
  suppressed: number
  deadLetters: number
  duplicates: number
  late: number
  ahead: number
}

/** What outlives a run: what is counted, who waits, what is remembered for inspection. */
export interface SliceHost {
  readonly counters: CellCounters
  readonly askers: Askers
  readonly recent: RecentScores
}

/** What a slice needs of the run that it belongs to. */
export interface SliceContext {
  readonly key: CellKey
  readonly topic: string
  readonly epoch: number
  readonly core: CellCore
  readonly commands: Array<RecordedCommand>
  /** Below this offset the owner before may have sent out results: what is decided from now on holds from here. */
  readonly replayUntil: number
  readonly emitter: Emitter
  readonly host: SliceHost
  readonly model: CellModel
  readonly store: Checkpoint["Type"]
  readonly metrics: Metrics["Type"]
  readonly settings: RunnerConfig
  /**
   * Why this run must not go on: a command may have been recorded that it does not know of, or a newer owner has
   * come. What it has done so far holds.
   */
  over: StorageUnavailable | Fenced | undefined
  /** The version that is in force from there on and not open yet: before it is, or its absence is recorded, no record is taken. */
  wanted: { readonly digest: string; readonly from: number } | undefined
  /** Commands that this run has made itself about its model. */
  moves: number
  /** What the loop is at: told where it does not come back from it. */
  doing: CellDoing
}
