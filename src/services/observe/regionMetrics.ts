// The metrics of a runner among others, and of its actors: part of `Metrics.ts`, by the same rules.
import { Counter, Gauge, type Registry } from "prom-client"
import type { CellDoing } from "../../schema/error/CellError.ts"

export const makeRegionMetrics = (registry: Registry) => {
  const registers = [registry]
  const counter = <L extends string = never>(name: string, help: string, labelNames: ReadonlyArray<L> = []) =>
    new Counter({ name, help, labelNames: [...labelNames], registers })
  const runners = new Gauge({
    name: "groundstate_region_runners",
    help: "runners of the region as this one sees it",
    labelNames: ["state"],
    registers
  })
  const slots = new Gauge({
    name: "groundstate_region_slots",
    help: "slots of the region that this runner holds",
    registers
  })
  const gaveUp = counter(
    "groundstate_region_takeovers_total",
    "peers that this runner found dead, by how it found out",
    ["cause"]
  )
  const rejoined = counter(
    "groundstate_region_rejoins_total",
    "times that this runner came back after others had given it up"
  )
  const rebalances = counter(
    "groundstate_region_rebalances_total",
    "divisions by this runner that moved cells"
  )
  const cellsMoved = counter(
    "groundstate_region_cells_moved_total",
    "cells that went from one runner to another by those divisions"
  )
  const eventsDropped = counter(
    "groundstate_region_events_dropped_total",
    "events of the region not kept, as the database was away for too long"
  )
  const mailboxRefused = counter(
    "groundstate_mailbox_refusals_total",
    "questions and commands that an actor had no room to queue, by kind of actor",
    ["actor"]
  )
  const counts = new Map<string, () => number>()
  new Gauge({
    name: "groundstate_resident_actors",
    help: "actors that are kept in memory, by kind of actor",
    labelNames: ["actor"],
    registers,
    collect() {
      for (const [actor, count] of counts) this.set({ actor }, count())
    }
  })
  const stalls = counter(
    "groundstate_stalls_total",
    "runs of a cell that lived and did not move, ended to start again, by what they were at",
    ["stream", "doing"]
  )
  const loopBlocked = counter(
    "groundstate_event_loop_blocked_total",
    "times that the process did nothing else for a second or more"
  )
  // There from the start, so that a rate shows the first.
  for (const cause of ["refused", "silent"] as const) gaveUp.inc({ cause }, 0)
  return {
    /** Where the region stands, as this runner sees it. */
    region: (seen: {
      readonly active: number
      readonly draining: number
      readonly dead: number
      readonly slots: number
    }): void => {
      for (const state of ["active", "draining", "dead"] as const) runners.set({ state }, seen[state])
      slots.set(seen.slots)
    },
    gaveUp: (cause: "refused" | "silent"): void => {
      gaveUp.inc({ cause })
    },
    cameBack: (): void => {
      rejoined.inc()
    },
    rebalanced: (cells: number): void => {
      rebalances.inc()
      cellsMoved.inc(cells)
    },
    regionEventDropped: (): void => {
      eventsDropped.inc()
    },
    stalled: (stream: string, doing: CellDoing): void => {
      stalls.inc({ stream, doing })
    },
    loopBlocked: (): void => {
      loopBlocked.inc()
    },
    /** Whom to ask how many actors of a kind are kept. */
    residents: (actor: "device", count: () => number): void => {
      counts.set(actor, count)
    },
    mailboxRefused: (actor: "cell" | "device" | "model" | "region"): void => {
      mailboxRefused.inc({ actor })
    }
  }
}
