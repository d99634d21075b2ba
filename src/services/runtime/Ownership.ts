// Whether what this runner owns is surely still its own: nothing leaves it otherwise.
import { Context, Effect, Layer } from "effect"

export class Ownership extends Context.Tag("groundstate/services/runtime/Ownership")<
  Ownership,
  {
    /**
     * Completes at once while the region has confirmed this runner a moment ago, else when it does so again. A runner
     * that was frozen finds here that time has passed, before it sends what it had ready.
     */
    readonly confirmed: Effect.Effect<void>
    /**
     * How long a cell that is let go may take for its last checkpoint. Where somebody waits for it, no longer than
     * reading its last seconds again would take.
     */
    readonly lastCheckpointMillis: number
  }
>() {
  /** A runner that is alone: nobody waits. */
  static readonly layerAlone = Layer.succeed(Ownership, {
    confirmed: Effect.void,
    lastCheckpointMillis: 5_000
  })
}
