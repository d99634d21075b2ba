// This runner's place in its region, as probes and metrics see it; and its orderly leave.
import { Duration, Effect, Layer, Option, Schedule } from "effect"
import { RegionRefused } from "../../schema/error/StorageError.ts"
import { HeldSlots } from "../runtime/Cluster.ts"
import { Membership } from "../runtime/Membership.ts"
import { Settings } from "../runtime/Settings.ts"
import { Health } from "./Health.ts"
import { Metrics } from "./Metrics.ts"
import { RegionEvents } from "./RegionEvents.ts"

const COMPONENT = "region"
const EVERY = "500 millis"
/** How often a runner that waits looks whether the wait is over. */
const LOOK = Duration.millis(20)

/** Comes up when the runner is in its region, and fails where it may not be. */
export const layer = Layer.scopedDiscard(
  Effect.gen(function* () {
    const membership = yield* Membership
    const held = yield* HeldSlots
    const health = yield* Health
    const metrics = yield* Metrics
    const { database } = yield* Settings

    const events = yield* RegionEvents
    const takeNews = () => {
      for (const news of membership.takeNews()) {
        switch (news._tag) {
          case "GaveUp":
            metrics.gaveUp(news.cause)
            events.tell({
              kind: "runner-gone",
              detail: `Runner ${news.runner} was given up: it ${news.cause === "refused" ? "has ended" : "does not answer"}. Its cells go to others.`
            })
            break
          case "CameBack":
            metrics.cameBack()
            events.tell({
              kind: "runner-back",
              detail: "This runner had been given up by others; it has let its cells go and is back."
            })
            break
          case "LeftOut":
            events.tell({
              kind: "rebalanced",
              detail: `Runner ${news.runner} does not reach the log and others do: it is given no cells until it has reached it for half a minute.`
            })
            break
          case "TakenIn":
            events.tell({
              kind: "rebalanced",
              detail: `Runner ${news.runner} is given cells again: it reaches the log, or nobody else is left.`
            })
            break
          case "Rebalanced":
            metrics.rebalanced(news.cells)
            events.tell({
              kind: "rebalanced",
              detail: `${news.cells} cell${news.cells === 1 ? " goes" : "s go"} to another runner.`
            })
        }
      }
    }

    const report = Effect.sync(() => {
      takeNews()
      const { members } = membership.view()
      const count = (wanted: string) => members.filter(({ state }) => state === wanted).length
      const refused = membership.refused()
      const reason =
        refused !== undefined
          ? refused.message
          : membership.holds()
            ? null
            : "the region has not confirmed this runner lately"
      health.report(COMPONENT, { ready: reason === null, reason })
      metrics.region({
        active: count("active"),
        draining: count("draining"),
        dead: count("dead"),
        slots: held.groups().length
      })
    })

    const wait = (database.postgres?.startTimeout ?? 60_000) / Duration.toMillis(LOOK)
    yield* Effect.suspend((): Effect.Effect<void, RegionRefused | "waiting"> => {
      const refused = membership.refused()
      if (refused !== undefined) return Effect.fail(refused)
      return membership.holds() ? Effect.void : Effect.fail("waiting")
    }).pipe(
      Effect.retry({
        while: (error) => error === "waiting",
        schedule: Schedule.intersect(Schedule.spaced(LOOK), Schedule.recurs(wait))
      }),
      Effect.mapError((error) =>
        error === "waiting" ? new RegionRefused({ detail: "its database did not take it in time" }) : error
      )
    )
    yield* report.pipe(Effect.zipRight(Effect.sleep(EVERY)), Effect.forever, Effect.forkScoped)
  })
)

/**
 * Comes last and is closed first: the runner's cells go to others, each with a last checkpoint, while everything that
 * they need still runs. Nothing where the runner is alone.
 */
export const layerHandOver = Layer.scopedDiscard(
  Effect.gen(function* () {
    const region = Option.all([
      yield* Effect.serviceOption(Membership),
      yield* Effect.serviceOption(HeldSlots)
    ])
    if (Option.isNone(region)) return
    const [membership, held] = region.value
    const health = yield* Health
    const events = yield* RegionEvents
    const { cluster } = yield* Settings

    const handedOver = Effect.suspend(() =>
      held.groups().length === 0 ? Effect.void : Effect.fail("held" as const)
    ).pipe(Effect.retry(Schedule.spaced(LOOK)))

    yield* Effect.addFinalizer(() =>
      Effect.gen(function* () {
        health.report("hand-over", { ready: false, reason: "the runner hands its cells over to others" })
        const others = membership
          .view()
          .members.some(({ address, state }) => address !== membership.address && state === "active")
        if (!others) return
        yield* Effect.logInfo("this runner hands its cells over")
        events.tell({ kind: "runner-draining", detail: "This runner ends and hands its cells over." })
        yield* membership.drain
        yield* handedOver
        yield* Effect.logInfo("this runner's cells are with others")
      }).pipe(
        Effect.interruptible,
        Effect.timeout(Duration.millis(cluster.drainTimeout)),
        Effect.catchAllCause((cause) =>
          Effect.logWarning(
            "not all cells were handed over; others take them when this runner has ended",
            cause
          )
        )
      )
    )
  })
)
