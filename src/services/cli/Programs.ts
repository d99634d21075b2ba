// What the command line starts but does not build: the programs that need the runtime, handed in by main.
import { Context, type Effect, type Scope } from "effect"
import type { CliError } from "../../schema/error/CliError.ts"
import type { ConfigInvalid } from "../../schema/error/ConfigError.ts"
import type { TableRefused } from "../../schema/error/TrainError.ts"
import type { StreamDefinition } from "../../schema/stream/StreamDefinition.ts"
import type { EventForm } from "../ingest/eventLine.ts"
import type { LoadedStream } from "../runtime/definitions/StreamFiles.ts"
import type { RunnerConfig } from "../runtime/Settings.ts"
import type { DashboardState } from "./Dashboard.ts"
import type { DemoSummary } from "./DemoSummary.ts"

/** What a program may fail with; anything else is a defect and ends with exit code 70. */
export type ProgramError = CliError | ConfigInvalid

export interface DemoOptions {
  /** Undefined: until it is stopped. */
  readonly durationMillis: number | undefined
  readonly seed: number
  readonly devices: number
  /** Events per second that the simulated devices send. */
  readonly eventsPerSecond: number
  /** Port of the HTTP API and console; 0, or a port that is taken, picks a free one. */
  readonly port: number
}

export interface ReplayOptions {
  /** A file of events, or a folder of such files and folders in the order of their paths. JSON lines or CSV, `.gz` of either. */
  readonly input: string
  readonly definition: StreamDefinition
  /** Folder of a model bundle; without it baselines and rules score. */
  readonly model: string | undefined
  /** Event time per wall-clock time; undefined: as fast as it goes. */
  readonly speed: number | undefined
  /** File that the alerts go to, one CloudEvent a line. */
  readonly output: string | undefined
  /** Column that says which events are anomalies; never part of an event. */
  readonly label: string | undefined
}

/** `-o json` prints exactly this. */
export interface ReplaySummary {
  readonly events: number
  readonly deadLetters: number
  readonly devices: number
  readonly alerts: number
  readonly seconds: number
  readonly eventsPerSecond: number
  /** Event time of the first and last event, epoch ms; null without events. */
  readonly from: number | null
  readonly to: number | null
  /** Digest of the model that scored; null without one. */
  readonly model: string | null
  /** Events that went on to the deep energy; null where not two stages scored. */
  readonly secondStage: number | null
  /** Against the label column; null without one. */
  readonly labelled: {
    readonly anomalies: number
    readonly caught: number
    readonly normals: number
    readonly falseAlarms: number
    /** Alerts that were raised, outside quiet times, for labelled anomalies and for normal events. */
    readonly alertsTrue: number
    readonly alertsFalse: number
    /** How well the energies rank, whatever the threshold: as `evaluate` measures; null where one kind is absent. */
    readonly rocAuc: number | null
    readonly averagePrecision: number | null
    readonly truePositiveRateAt1Percent: number | null
  } | null
}

/** `train --features device`: rows as the stream's cells make them, with each device's own baseline. */
export interface TrainDeviceOptions {
  readonly input: string
  readonly definition: StreamDefinition
  readonly output: string
  readonly name: string | undefined
  readonly seed: number
  readonly energy: "full" | "fast" | undefined
  readonly report: (label: string, done: number, total: number | undefined) => Effect.Effect<void>
  readonly progress: (
    phase: "read" | "trim" | "fit" | "calibrate" | "write",
    done: number,
    total: number
  ) => void
}

export interface TrainedDevice {
  readonly digest: string
  readonly output: string
  readonly rows: number
  readonly skipped: number
  readonly trimmed: number
  readonly prototypes: number
  readonly heldBack: number
  readonly seconds: number
}

/** `train --topic`: the last events of a topic of the log that the settings name. */
export interface TopicTailOptions {
  readonly settings: RunnerConfig
  readonly topic: string
  readonly last: number
  readonly form: EventForm
}

export interface TopicTail {
  /** JSON lines, one event each, in the order of the log's times; gone when the scope closes. */
  readonly file: string
  readonly events: number
  /** Records without a value, which are left out. */
  readonly empty: number
  /** The log's times of the first and last event, epoch ms. */
  readonly from: number
  readonly to: number
  /** Partition and offset of a row of the file, from 1. */
  readonly where: (row: number) => string
}

/** How far long work is, in its own unit; total undefined where nobody knows. */
export type Report = (done: number, total: number | undefined) => Effect.Effect<void>

export class Programs extends Context.Tag("groundstate/services/cli/Programs")<
  Programs,
  {
    /** A runner: goes on until it is interrupted, then stops in order. */
    readonly run: (
      settings: RunnerConfig,
      streams: ReadonlyArray<LoadedStream>
    ) => Effect.Effect<never, ProgramError>
    /** Everything in one process on an empty folder; `show` gets the view's state about four times a second. */
    readonly demo: (
      options: DemoOptions,
      show: (state: DashboardState) => Effect.Effect<void>
    ) => Effect.Effect<DemoSummary, ProgramError>
    /** A file's events through a cell of their own, without a log; `report` counts events. */
    readonly replay: (options: ReplayOptions, report: Report) => Effect.Effect<ReplaySummary, ProgramError>
    readonly trainDevice: (
      options: TrainDeviceOptions
    ) => Effect.Effect<TrainedDevice, ProgramError | TableRefused>
    readonly topicTail: (
      options: TopicTailOptions,
      report: Report
    ) => Effect.Effect<TopicTail, ProgramError, Scope.Scope>
  }
>() {}
