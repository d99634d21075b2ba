// Tells the region that this runner lives, and finds out about peers that no longer do: a kill within a tenth of a second.
import { connect } from "node:net"
import { performance } from "node:perf_hooks"
import { RunnerAddress, Runners } from "@effect/cluster"
import { Cause, Duration, Effect, Fiber, Layer, Schedule } from "effect"
import { HeldSlots } from "./Cluster.ts"
import { type Member, Membership, SILENT_AFTER_MILLIS } from "./Membership.ts"
import { Streams } from "./Streams.ts"

/** A connection attempt that has no answer by then has none. */
const CONNECT_MILLIS = 300
/** Between two attempts that must both be refused before a peer counts as dead. */
const TWICE_MILLIS = 30
/** Before a connection that ended for no reason is made again. */
const AGAIN_MILLIS = 250
const PING_EVERY_MILLIS = 1_000
const PING_MILLIS = 1_500
/**
 * A peer that answers and has told the database nothing for so long can't reach it, while this runner can: its lease is
 * long over and nothing leaves it. Longer than a call to the database may take, so that a slow one gives nobody up.
 */
const CUT_OFF_AFTER_MILLIS = 12_000
/** How often the list of peers is compared with those that are watched. */
const COMPARE_MILLIS = 200

type Probe = "open" | "refused" | "silent"

const placeOf = ({ address }: Member) => {
  const colon = address.lastIndexOf(":")
  return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) }
}

/** Connects and says how that went; `hold` keeps the connection and completes when it ends. */
const reach = (member: Member, hold: boolean): Effect.Effect<Probe> =>
  Effect.async<Probe>((resume) => {
    const socket = connect(placeOf(member))
    socket.setNoDelay(true)
    let answer: Probe = "silent"
    socket.setTimeout(CONNECT_MILLIS, () => socket.destroy())
    socket.once("connect", () => {
      socket.setTimeout(0)
      answer = "open"
      if (hold) socket.setKeepAlive(true, 1_000)
      else socket.destroy()
    })
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (answer === "silent" && error.code === "ECONNREFUSED") answer = "refused"
    })
    // What the other side says is for the library's own connections.
    socket.resume()
    socket.once("close", () => resume(Effect.succeed(answer)))
    return Effect.sync(() => socket.destroy())
  })

const make = Effect.gen(function* () {
  const membership = yield* Membership
  const held = yield* HeldSlots
  const runners = yield* Runners.Runners
  const streams = yield* Streams
  const cells = () => streams.all.reduce((sum, { partitions }) => sum + partitions, 0)
  let divided = cells()
  /** Since when each of this runner's own beats has reached the database, monotonic ms; undefined while they do not. */
  let heardSince: number | undefined

  const giveUp = (member: Member, cause: "refused" | "silent") =>
    membership.giveUp(member, cause).pipe(
      Effect.tap((first) =>
        first
          ? Effect.logWarning(
              `runner ${member.name} is given up: it ${cause === "refused" ? "has ended" : "is not heard of"}; its cells go to others`
            ).pipe(Effect.annotateLogs({ address: member.address }))
          : Effect.void
      ),
      Effect.catchAllCause((cause) =>
        Effect.annotateLogs(Effect.logDebug("a peer could not be given up yet"), {
          detail: Cause.pretty(cause)
        })
      )
    )

  /** A peer's process ends: its kernel closes the connection, and refuses the next. */
  const watchProcess = (member: Member) =>
    Effect.gen(function* () {
      yield* reach(member, true)
      if ((yield* reach(member, false)) === "refused") {
        yield* Effect.sleep(TWICE_MILLIS)
        if ((yield* reach(member, false)) === "refused") yield* giveUp(member, "refused")
      }
      yield* Effect.sleep(AGAIN_MILLIS)
    }).pipe(Effect.forever)

  /**
   * A peer that is frozen, or whose machine is gone: neither its database row moves nor does it answer. Or it answers,
   * and its row has not moved for far longer than the database has been there for this runner.
   */
  const watchAnswers = (member: Member) => {
    const address = RunnerAddress.make(placeOf(member).host, placeOf(member).port)
    return Effect.gen(function* () {
      yield* Effect.sleep(PING_EVERY_MILLIS)
      const now = membership.view().members.find((one) => one.incarnation === member.incarnation)
      if (now === undefined || now.silentMillis < SILENT_AFTER_MILLIS) return
      const cutOff =
        now.silentMillis > CUT_OFF_AFTER_MILLIS &&
        heardSince !== undefined &&
        performance.now() - heardSince > CUT_OFF_AFTER_MILLIS
      if (cutOff) return yield* giveUp(member, "silent")
      const answered = yield* runners
        .ping(address)
        .pipe(Effect.disconnect, Effect.timeout(PING_MILLIS), Effect.isSuccess)
      if (!answered) yield* giveUp(member, "silent")
    }).pipe(Effect.forever)
  }

  const watched = new Map<string, Fiber.RuntimeFiber<unknown>>()
  const compare = Effect.gen(function* () {
    const peers = membership
      .view()
      .members.filter(({ address, state }) => address !== membership.address && state !== "dead")
    for (const [incarnation, fiber] of watched) {
      if (peers.some((peer) => peer.incarnation === incarnation)) continue
      watched.delete(incarnation)
      yield* Fiber.interruptFork(fiber)
    }
    for (const peer of peers) {
      if (watched.has(peer.incarnation)) continue
      const watch = Effect.all([watchProcess(peer), watchAnswers(peer)], {
        concurrency: "unbounded",
        discard: true
      })
      watched.set(peer.incarnation, yield* Effect.forkScoped(watch))
    }
  })

  /** Others have given this runner up, wrongly or while it was frozen: it lets go of everything and comes back. */
  const comeBack = Effect.gen(function* () {
    yield* Effect.logWarning("the others have given this runner up; it lets its cells go and comes back")
    yield* Effect.retry(
      Effect.suspend(() => (held.groups().length === 0 ? Effect.void : Effect.fail("held"))),
      Schedule.spaced(Duration.millis(COMPARE_MILLIS)).pipe(Schedule.upTo("15 seconds"))
    ).pipe(Effect.ignore)
    yield* membership.join
    yield* Effect.logInfo("this runner is back in the region")
  })

  let away = false
  const beat = Effect.gen(function* () {
    if (!membership.joined()) return
    const state = yield* membership.beat
    away = false
    heardSince ??= performance.now()
    if ((cells() !== divided || membership.sifts()) && state === "active") {
      // Cells of partitions that were added lie in slots that have no weight yet; or somebody alone does not reach the log.
      const now = cells()
      yield* membership.rebalance
      divided = now
    }
    if (state === "dead") yield* comeBack
    else if (state === "gone" && membership.refused() === undefined) yield* membership.join
  }).pipe(
    Effect.catchAllCause((cause) =>
      Effect.suspend(() => {
        const first = !away
        away = true
        heardSince = undefined
        return first
          ? Effect.annotateLogs(Effect.logWarning("the region's database has not heard this runner"), {
              detail: Cause.pretty(cause)
            })
          : Effect.void
      })
    )
  )

  yield* beat.pipe(Effect.zipRight(Effect.sleep(membership.beatMillis)), Effect.forever, Effect.forkScoped)
  yield* compare.pipe(Effect.zipRight(Effect.sleep(COMPARE_MILLIS)), Effect.forever, Effect.forkScoped)
})

export const layer = Layer.scopedDiscard(make)
