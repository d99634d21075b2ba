// Wakes a cell where its slot lies, and again whenever it has gone: cells start by themselves.
import { Sharding } from "@effect/cluster"
import { Duration, Effect, Layer, type Scope } from "effect"
import { CellProtocol } from "../../schema/protocol/CellProtocol.ts"
import { groupOfCell } from "../../schema/protocol/slots.ts"
import { Cells } from "../../services/runtime/Cells.ts"
import { Streams } from "../../services/runtime/Streams.ts"

/** How often a cell is looked after; one local call of about 100 µs. */
const EVERY = Duration.seconds(2)
/** How often it is looked whether streams have more partitions. */
const LOOK = Duration.seconds(1)

/**
 * One singleton per partition, in the cell's own slot. It never fails: a cell that does not answer is asked again.
 * Partitions that are added while the runner runs get theirs, too.
 */
export const layer = Layer.scopedDiscard(
  Effect.gen(function* () {
    const streams = yield* Streams
    const cells = yield* Cells
    const sharding = yield* Sharding.Sharding
    const cellOf = yield* CellProtocol.client
    const known = new Set<string>()
    const wake = (id: string): Effect.Effect<void, never, Scope.Scope> =>
      sharding.registerSingleton(
        id,
        cellOf(id)
          .Inspect()
          .pipe(
            Effect.timeout("10 seconds"),
            Effect.ignore,
            Effect.zipRight(Effect.sleep(EVERY)),
            Effect.forever
          ),
        { shardGroup: groupOfCell(id) }
      )
    const register = Effect.suspend(() => {
      const fresh = streams.all
        .flatMap(({ plan, partitions }) =>
          Array.from({ length: partitions }, (_, partition) => cells.idOf(plan.stream, partition))
        )
        .filter((id) => !known.has(id))
      for (const id of fresh) known.add(id)
      return Effect.forEach(fresh, wake, { discard: true })
    })
    yield* register
    yield* register.pipe(Effect.delay(LOOK), Effect.forever, Effect.forkScoped)
  })
)
