// What happens to a region itself, not in its streams: who took over what, what stood still, what was changed.
import { Schema } from "effect"

/**
 * `takeover`: a runner has a cell, from its claim on. `fenced`: a runner's writes were refused, as a newer owner had the
 * cell. `paused`, `resumed`: a cell waits for something outside, and goes on. `stopped`: a cell's run failed, and
 * starts again. `stalled`: it lived and did not move, and starts again. `loop-blocked`: a runner did nothing at all for
 * a second or more. `rebalanced`: cells were given to other runners. `runner-gone`: a runner was found dead and given
 * up. `runner-back`: a runner that had been given up has come back. `runner-draining`: a runner hands its cells over.
 * `model-active`, `model-retired`: which model scores has changed.
 */
export const RegionEventKind = Schema.Literal(
  "takeover",
  "fenced",
  "paused",
  "resumed",
  "stopped",
  "stalled",
  "loop-blocked",
  "rebalanced",
  "runner-gone",
  "runner-back",
  "runner-draining",
  "model-active",
  "model-retired"
)
export type RegionEventKind = typeof RegionEventKind.Type

export const RegionEvent = Schema.Struct({
  /** Rises by one with each; the cursor and the id in the live feed. */
  seq: Schema.NonNegativeInt,
  /** Epoch ms, by the clock of the runner that tells it. */
  at: Schema.Number,
  kind: RegionEventKind,
  /** The runner that tells it. */
  runner: Schema.String,
  stream: Schema.NullOr(Schema.String),
  partition: Schema.NullOr(Schema.NonNegativeInt),
  /** One sentence. */
  detail: Schema.String
}).annotations({ identifier: "RegionEvent" })
export type RegionEvent = typeof RegionEvent.Type
