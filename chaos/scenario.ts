// What a scenario is, and what a run of one tells.
import type { Length, Stage, StageOptions } from "./stage.ts"

interface Named {
  /** Row of the contract, or several. */
  readonly id: string
  readonly name: string
  /** One sentence: what is done. */
  readonly about: string
  readonly invariants: string
  /** What this machine lacks for it; undefined where it lacks nothing. */
  readonly needs?: () => string | undefined
}

/** Played in a region of real runners under load, and judged by the oracle at the end. */
export interface RegionScenario extends Named {
  readonly kind: "region"
  readonly stage?: Pick<StageOptions, "load" | "region" | "runners" | "links" | "environment">
  readonly play: (stage: Stage) => Promise<void>
}

/** Has a world of its own, and judges by itself. */
export interface LoneScenario extends Named {
  readonly kind: "alone"
  readonly play: (options: PlayOptions) => Promise<Told>
}

export interface AbsentScenario extends Pick<Named, "id" | "name"> {
  readonly kind: "absent"
  readonly why: string
}

export type Scenario = RegionScenario | LoneScenario

export interface PlayOptions {
  readonly seed: number
  readonly folder: string
  readonly length: Length
  readonly kills: number | undefined
  /** Times what the contract allows for a recovery, where the machine does other things as well. */
  readonly slack?: number
  readonly say: (text: string) => void
}

/** held: all of it; failed: something is broken; void: nothing was shown; absent: it could not be run here. */
export type Verdict = "held" | "failed" | "void" | "not run"

export interface Told {
  readonly verdict: Verdict
  readonly faults: ReadonlyArray<string>
  /** Effects of the faults that were seen. */
  readonly observed: ReadonlyArray<string>
  readonly events: number
  readonly lost: number
  readonly doubled: number
  readonly copies: number
  readonly alerts: number
  readonly deadLetters: number
  /** undefined where there is nothing to compare. */
  readonly alertsEqual: boolean | undefined
  readonly statesEqual: boolean | undefined
  /** Milliseconds, one for each fault and the slowest of its cells. */
  readonly recoveries: ReadonlyArray<number>
  /** Recoveries during which the machine itself stood still: they are not among the above. */
  readonly disturbed: number
  /** Why the verdict is not `held`. */
  readonly because: ReadonlyArray<string>
}

export interface Row extends Told {
  readonly id: string
  readonly name: string
  readonly seed: number
  readonly seconds: number
  /** Processes that wanted a core at its end, for each core: above 1 the machine was doing other things as well. */
  readonly load?: number
}

/** A row of which nothing but a reason is known. */
export const untold = (verdict: Verdict, because: string): Told => ({
  verdict,
  faults: [],
  observed: [],
  events: 0,
  lost: 0,
  doubled: 0,
  copies: 0,
  alerts: 0,
  deadLetters: 0,
  alertsEqual: undefined,
  statesEqual: undefined,
  recoveries: [],
  disturbed: 0,
  because: [because]
})
