// How many actors of a kind stay in memory on a runner: the most recently used ones, up to a bound, and not for ever.
import { Entity, Envelope, Message, Sharding } from "@effect/cluster"
import { Headers } from "@effect/platform"
import { Rpc } from "@effect/rpc"
import { Clock, Context, Duration, Effect, Option, type Scope } from "effect"

/**
 * What the library removes an actor after: it looks every five seconds, and leaves alone who has work or is kept.
 * So what is not kept goes at the next look, and this module says who is kept.
 */
export const UNKEPT_IDLE = Duration.millis(1)
/** How often idle actors are looked for. */
const LOOK_EVERY = "5 seconds"

/** The library's own request to be kept, by its tag, but not written to the database: it means nothing after a restart. */
const KeepAlive = Rpc.make(Entity.KeepAliveRpc._tag)

interface Resident {
  readonly latch: Effect.Latch
  usedAt: number
}

export interface ResidencyOptions {
  /** Actors that are kept; the least recently used one leaves for one more. At least 1. */
  readonly max: number
  /** Milliseconds without a message after which an actor is no longer kept. */
  readonly idleMillis: number
}

export interface Residency {
  /**
   * Within an actor's `build`: gives what it runs with each message that it takes. The first one keeps the actor, others
   * make it the most recently used; whoever falls out leaves memory at the library's next look.
   */
  readonly enter: Effect.Effect<
    Effect.Effect<void>,
    never,
    Entity.CurrentAddress | Scope.Scope | Sharding.Sharding
  >
  /** Actors that are kept now. */
  readonly kept: () => number
}

/** The actors of one kind on this runner, registered with `maxIdleTime: UNKEPT_IDLE`. */
export const makeResidency = ({
  max,
  idleMillis
}: ResidencyOptions): Effect.Effect<Residency, never, Scope.Scope> =>
  Effect.gen(function* () {
    /** The least recently used first: a Map remembers the order in which it was written. */
    const residents = new Map<string, Resident>()

    const dismiss = (id: string, resident: Resident): void => {
      residents.delete(id)
      resident.latch.unsafeOpen()
    }
    const trim = (now: number): void => {
      for (const [id, resident] of residents) {
        if (residents.size <= max && now - resident.usedAt < idleMillis) return
        dismiss(id, resident)
      }
    }

    const enter = Effect.gen(function* () {
      const address = yield* Entity.CurrentAddress
      const sharding = yield* Sharding.Sharding
      const scope = yield* Effect.scope
      const latch = yield* Effect.serviceOption(Entity.KeepAliveLatch)
      if (Option.isNone(latch)) return Effect.void
      const id = address.entityId
      const resident: Resident = { latch: latch.value, usedAt: 0 }
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          if (residents.get(id) === resident) dismiss(id, resident)
        })
      )
      // Not while it is built: its own messages wait until it is.
      const keep = Effect.gen(function* () {
        const requestId = yield* sharding.getSnowflake
        yield* sharding.sendOutgoing(
          new Message.OutgoingRequest<typeof KeepAlive>({
            rpc: KeepAlive,
            context: Context.empty(),
            envelope: Envelope.makeRequest({
              requestId,
              address,
              tag: KeepAlive._tag,
              payload: undefined,
              headers: Headers.empty
            }),
            lastReceivedReply: Option.none(),
            respond: () => Effect.void
          }),
          true
        )
      }).pipe(Effect.ignore)
      return Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const kept = residents.delete(id)
        residents.set(id, resident)
        resident.usedAt = now
        trim(now)
        if (kept) return Effect.void
        resident.latch.unsafeClose()
        return Effect.asVoid(Effect.forkIn(keep, scope))
      })
    })

    yield* Effect.map(Clock.currentTimeMillis, trim).pipe(
      Effect.delay(LOOK_EVERY),
      Effect.forever,
      Effect.forkScoped
    )
    return { enter, kept: () => residents.size }
  })
