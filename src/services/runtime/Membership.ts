// Who runs in a region, and who has which slot: two small tables that every runner reads ten times a second.
import { randomBytes } from "node:crypto"
import { performance } from "node:perf_hooks"
import { SqlClient } from "@effect/sql"
import type { SqlError } from "@effect/sql/SqlError"
import { Context, Effect, Layer } from "effect"
import { RegionRefused } from "../../schema/error/StorageError.ts"
import { SLOTS } from "../../schema/protocol/slots.ts"
import { ableOf } from "./able.ts"
import { LogReach } from "./LogReach.ts"
import { Ownership } from "./Ownership.ts"
import { Settings } from "./Settings.ts"
import { Streams } from "./Streams.ts"
import { assignSlots, cellsBySlot } from "./slots.ts"
import { version } from "./version.ts"

/** Serialises changes of the two tables; next to the migrations' lock. */
const CHANGE_LOCK = 7_061_935
/** How often a runner tells that it lives. */
const BEAT_MILLIS = 1_000
/** A runner that has told nothing for so long, and does not answer its peers either, is given up. */
export const SILENT_AFTER_MILLIS = 4_000
/** After a beat that the database has taken, a runner may send for so long: less than the above, by either clock. */
const LEASE_MILLIS = 3_000
/** See `Ownership.lastCheckpointMillis`. */
const LAST_CHECKPOINT_MILLIS = 500

export type MemberState = "active" | "draining" | "dead"

export interface Member {
  /** `host:port` for messages between runners. */
  readonly address: string
  readonly name: string
  /** Tells a process from the next one at the same address; also the name of its database sessions. */
  readonly incarnation: string
  readonly state: MemberState
  /** Base URL of its API. */
  readonly http: string
  /** Of the program; empty where it is too old to tell. */
  readonly version: string
  /** Epoch ms, the database's clock. */
  readonly startedAt: number
  /** Since it last told that it lives. */
  readonly silentMillis: number
  /** False where it alone does not reach the log: it is given no cells. */
  readonly able: boolean
  /** How long it has not reached the log, and how long it has without a break, by its last beat. */
  readonly awayMillis: number
  readonly steadyMillis: number
}

/**
 * `GaveUp`: this runner found another dead. `CameBack`: others had given this one up. `Rebalanced`: it divided cells anew.
 * `LeftOut` and `TakenIn`: it found that another, or itself, alone does not reach the log, or does again.
 */
export type MembershipNews =
  | { readonly _tag: "GaveUp"; readonly runner: string; readonly cause: "refused" | "silent" }
  | { readonly _tag: "CameBack" }
  | { readonly _tag: "LeftOut" | "TakenIn"; readonly runner: string }
  | { readonly _tag: "Rebalanced"; readonly cells: number }

export interface RegionView {
  readonly members: ReadonlyArray<Member>
  /** Address of the owner of each slot. */
  readonly slots: ReadonlyArray<string | undefined>
  /** When it was read, monotonic ms. */
  readonly readAt: number
}

interface ViewRow {
  readonly slot: string | number
  readonly address: string
  readonly name: string | null
  readonly incarnation: string
  readonly state: MemberState
  readonly http: string
  readonly version: string
  readonly started: string | number
  readonly silent: string | number
  readonly able: string | number
  readonly away: string | number
  readonly steady: string | number
}

interface ReachRow {
  readonly address: string
  readonly name: string
  readonly able: string | number
  readonly away: string | number
  readonly steady: string | number
}

/** A name for the sessions of this process, which others may end by it. */
export const makeIncarnation = (): string => `groundstate ${randomBytes(8).toString("hex")}`

const make = (incarnation: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const settings = yield* Settings
    const streams = yield* Streams
    const reach = yield* LogReach
    const { host, port } = settings.cluster
    const address = `${host}:${port}`
    const scheme = settings.http.tls === undefined ? "http" : "https"
    const http = `${scheme}://${settings.http.host}:${settings.http.port}`
    const now = sql.literal("(extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    let view: RegionView = { members: [], slots: Array.from({ length: SLOTS }, () => undefined), readAt: 0 }
    /** When the last beat began that the database took, monotonic ms. */
    let confirmedAt = Number.NEGATIVE_INFINITY
    let refused: RegionRefused | undefined
    let joined = false
    const happened: Array<MembershipNews> = []
    const latch = Effect.unsafeMakeLatch(false)

    /** A runner's reach by its own last beat; one of an earlier version tells nothing of it. */
    const away = sql.literal("CASE WHEN log_since > 0 OR log_at = 0 THEN 0 ELSE beat_at - log_at END")
    const steady = sql.literal("CASE WHEN log_since > 0 THEN beat_at - log_since ELSE 0 END")

    /** Who is given cells, written down where it changes. */
    const sift = Effect.gen(function* () {
      const rows = yield* sql<ReachRow>`SELECT address, name, able, ${away} AS away, ${steady} AS steady
        FROM region_runner WHERE state = 'active'`
      const able = ableOf(
        rows.map((row) => ({
          address: row.address,
          able: Number(row.able) === 1,
          away: Number(row.away),
          steady: Number(row.steady)
        }))
      )
      const news: Array<MembershipNews> = []
      for (const { address, name, able: before } of rows) {
        const is = able.has(address)
        if (is === (Number(before) === 1)) continue
        yield* sql`UPDATE region_runner SET able = ${is ? 1 : 0} WHERE address = ${address}`
        news.push({ _tag: is ? "TakenIn" : "LeftOut", runner: name })
      }
      return { able: [...able], news }
    })

    /** One change at a time, and with it the division of the slots among those who are there then. */
    const change = <A, E>(work: Effect.Effect<A, E | SqlError>) =>
      sql
        .withTransaction(
          Effect.gen(function* () {
            yield* sql`SELECT pg_advisory_xact_lock(${CHANGE_LOCK})`
            const answer = yield* work
            const { able, news } = yield* sift
            const rows = yield* sql<{ slot: string; address: string }>`SELECT slot, address FROM region_slot`
            const current: Array<string | undefined> = Array.from({ length: SLOTS }, () => undefined)
            for (const row of rows) current[Number(row.slot)] = row.address
            const cells = cellsBySlot(
              streams.all.map(({ plan, partitions }) => ({ stream: plan.stream, partitions }))
            )
            const next = assignSlots(cells, able, current)
            let moved = 0
            next.forEach((owner, slot) => {
              const before = current[slot]
              if (before !== undefined && before !== owner) moved += cells[slot].length
            })
            const given = next.flatMap((owner, slot) =>
              owner === undefined || owner === current[slot] ? [] : [{ slot, address: owner }]
            )
            if (given.length > 0) {
              yield* sql`INSERT INTO region_slot ${sql.insert(given)}
              ON CONFLICT (slot) DO UPDATE SET address = excluded.address`
            }
            if (able.length === 0) yield* sql`DELETE FROM region_slot`
            return { answer, moved, news }
          })
        )
        .pipe(
          // Told when it holds.
          Effect.map(({ answer, moved, news }) => {
            happened.push(...news)
            if (moved > 0) happened.push({ _tag: "Rebalanced", cells: moved })
            return answer
          })
        )

    const read = sql<ViewRow>`SELECT -1 AS slot, address, name, incarnation, state, http, version,
        started_at AS started,
        ${now} - beat_at AS silent, able, ${away} AS away, ${steady} AS steady FROM region_runner
      UNION ALL SELECT slot, address, NULL, '', '', '', '', 0, 0, 0, 0, 0 FROM region_slot`.pipe(
      Effect.map((rows) => {
        const members: Array<Member> = []
        const slots: Array<string | undefined> = Array.from({ length: SLOTS }, () => undefined)
        for (const row of rows) {
          if (row.name === null) slots[Number(row.slot)] = row.address
          else
            members.push({
              address: row.address,
              name: row.name,
              incarnation: row.incarnation,
              state: row.state,
              http: row.http,
              version: row.version,
              startedAt: Number(row.started),
              silentMillis: Number(row.silent),
              able: Number(row.able) === 1,
              awayMillis: Number(row.away),
              steadyMillis: Number(row.steady)
            })
        }
        view = { members, slots, readAt: performance.now() }
        return view
      })
    )

    const confirm = (at: number) => {
      confirmedAt = at
      latch.unsafeOpen()
    }

    const join = Effect.gen(function* () {
      const at = performance.now()
      const others = yield* sql<{ name: string; log: string; address: string }>`SELECT name, log, address
        FROM region_runner WHERE address <> ${address} AND state = 'active'`
      const apart = others.find((other) => other.log === "embedded" || settings.log.kind === "embedded")
      if (apart !== undefined) {
        refused = new RegionRefused({
          detail: `runner ${apart.name} at ${apart.address} is in it, and an embedded log belongs to one runner; use Kafka (log.kind: kafka) for several`
        })
        return yield* refused
      }
      const since = reach.held() ? now : sql.literal("0")
      yield* sql`INSERT INTO region_runner (address, name, incarnation, state, http, log, version, started_at, beat_at,
          able, log_at, log_since)
        VALUES (${address}, ${settings.runner}, ${incarnation}, 'active', ${http}, ${settings.log.kind}, ${version},
          ${now}, ${now}, 1, ${now}, ${since})
        ON CONFLICT (address) DO UPDATE SET name = excluded.name, incarnation = excluded.incarnation,
        state = excluded.state, http = excluded.http, log = excluded.log, version = excluded.version,
        started_at = excluded.started_at, beat_at = excluded.beat_at, log_since = excluded.log_since,
        able = CASE WHEN region_runner.incarnation = excluded.incarnation THEN region_runner.able ELSE 1 END,
        log_at = CASE WHEN region_runner.incarnation = excluded.incarnation AND excluded.log_since = 0
          THEN region_runner.log_at ELSE excluded.log_at END`
      refused = undefined
      if (joined) happened.push({ _tag: "CameBack" })
      joined = true
      return at
    }).pipe(change, Effect.map(confirm))

    /** Tells that this runner lives, and learns what the region takes it for. */
    const beat = Effect.gen(function* () {
      const at = performance.now()
      // One moment for both, so that what it tells of itself fits together.
      const told = reach.held()
        ? sql`log_at = moment.at, log_since = CASE WHEN log_since > 0 THEN log_since ELSE moment.at END`
        : sql`log_since = 0`
      const rows = yield* sql<{ state: MemberState }>`UPDATE region_runner SET beat_at = moment.at, ${told}
        FROM (SELECT ${now} AS at) AS moment
        WHERE address = ${address} AND incarnation = ${incarnation} RETURNING state`
      if (rows.length === 0) {
        const taken = yield* sql<{ name: string }>`SELECT name FROM region_runner WHERE address = ${address}`
        if (taken.length > 0)
          refused = new RegionRefused({
            detail: `another process has come under its address ${address}; give each runner a cluster.host and cluster.port of its own`
          })
        return "gone" as const
      }
      if (rows[0].state !== "dead") confirm(at)
      return rows[0].state
    })

    /** Gives a runner up, ends its sessions and divides its slots; nothing where somebody else was first. */
    const giveUp = (member: Member, cause: "refused" | "silent") =>
      Effect.gen(function* () {
        const silent = cause === "silent" ? sql`AND beat_at < ${now} - ${SILENT_AFTER_MILLIS}` : sql``
        const rows = yield* sql`UPDATE region_runner SET state = 'dead'
          WHERE address = ${member.address} AND incarnation = ${member.incarnation} AND state <> 'dead' ${silent}
            AND EXISTS (SELECT 1 FROM region_runner WHERE incarnation = ${incarnation} AND state <> 'dead')
          RETURNING address`
        if (rows.length === 0) return false
        yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE application_name = ${member.incarnation} AND datname = current_database()`
        happened.push({ _tag: "GaveUp", runner: member.name, cause })
        return true
      }).pipe(change)

    const mine = sql`address = ${address} AND incarnation = ${incarnation}`
    const drain = sql`UPDATE region_runner SET state = 'draining' WHERE ${mine}`.pipe(change, Effect.asVoid)
    const leave = Effect.suspend(() => {
      // No more beats: they would bring it back.
      joined = false
      return sql`DELETE FROM region_runner WHERE ${mine}`.pipe(change, Effect.asVoid)
    })
    const holds = () => performance.now() - confirmedAt < LEASE_MILLIS

    return {
      address,
      incarnation,
      /** As read last. */
      view: () => view,
      read,
      join,
      beat,
      beatMillis: BEAT_MILLIS,
      giveUp,
      drain,
      leave,
      /** Divides the slots anew: a stream has more partitions, or `sifts`. */
      rebalance: change(Effect.void),
      /** Is somebody to be left out that is not, or the other way round, as the region was read last? */
      sifts: (): boolean => {
        const active = view.members.filter(({ state }) => state === "active")
        const able = ableOf(
          active.map((one) => ({
            address: one.address,
            able: one.able,
            away: one.awayMillis,
            steady: one.steadyMillis
          }))
        )
        return active.some((one) => able.has(one.address) !== one.able)
      },
      holds,
      /** Has been in the region once; the first time is the library's to choose. */
      joined: () => joined,
      refused: () => refused,
      /** What this runner has done and seen since it was asked last. */
      takeNews: (): ReadonlyArray<MembershipNews> => happened.splice(0),
      confirmed: Effect.suspend(function wait(): Effect.Effect<void> {
        if (holds()) return Effect.void
        latch.unsafeClose()
        return Effect.flatMap(latch.await, () => Effect.suspend(wait))
      })
    }
  })

/** This runner's place in its region; PostgreSQL alone. */
export class Membership extends Context.Tag("groundstate/services/runtime/Membership")<
  Membership,
  Effect.Effect.Success<ReturnType<typeof make>>
>() {
  static readonly layer = (incarnation: string) =>
    Layer.flatMap(Layer.effect(Membership, make(incarnation)), (context) => {
      const membership = Context.get(context, Membership)
      return Layer.merge(
        Layer.succeed(Membership, membership),
        Layer.succeed(Ownership, {
          confirmed: membership.confirmed,
          lastCheckpointMillis: LAST_CHECKPOINT_MILLIS
        })
      )
    })
}
