// The actor of a region: asks every cell how it is and says it in words.
import { Entity } from "@effect/cluster"
import { Clock, Duration, Effect, Option } from "effect"
import { CellProtocol, type CellStatus } from "../../schema/protocol/CellProtocol.ts"
import { RegionProtocol, RegionUnavailable } from "../../schema/protocol/RegionProtocol.ts"
import { Cells } from "../../services/runtime/Cells.ts"
import { Membership } from "../../services/runtime/Membership.ts"
import { Settings } from "../../services/runtime/Settings.ts"
import { Streams } from "../../services/runtime/Streams.ts"
import { Projections } from "../../services/state/Projections.ts"
import { judgeCell, regionHealth } from "./regionHealth.ts"

/** How long a region waits for a cell before it counts it as silent. */
const CELL_TIMEOUT = Duration.seconds(2)
/** Cells asked at once. */
const CELLS_AT_ONCE = 16

const build = Effect.gen(function* () {
  const address = yield* Entity.CurrentAddress
  const settings = yield* Settings
  const streams = yield* Streams
  const cells = yield* Cells
  const projections = yield* Projections
  const cellOf = yield* CellProtocol.client
  const membership = yield* Effect.serviceOption(Membership)
  const startedAt = yield* Clock.currentTimeMillis

  const inspect = (stream: string, partition: number) =>
    cellOf(cells.idOf(stream, partition))
      .Inspect()
      .pipe(
        Effect.timeout(CELL_TIMEOUT),
        Effect.map((status): CellStatus | undefined => status),
        Effect.orElseSucceed(() => undefined),
        Effect.map((status) => ({ stream, partition, status }))
      )

  return RegionProtocol.of({
    Report: () =>
      Effect.gen(function* () {
        const answers = yield* Effect.forEach(
          streams.all.flatMap((served) =>
            Array.from({ length: served.partitions }, (_, partition) => ({
              stream: served.plan.stream,
              partition
            }))
          ),
          ({ stream, partition }) => inspect(stream, partition),
          { concurrency: CELLS_AT_ONCE }
        )
        const counts = yield* projections.counts.pipe(
          Effect.mapError((error) => new RegionUnavailable({ detail: error.message }))
        )
        const findings = answers.flatMap(({ stream, partition, status }) =>
          judgeCell(stream, partition, status)
        )
        const live = answers.flatMap(({ status }) => (status === undefined ? [] : [status]))
        const sum = (value: (status: CellStatus) => number) =>
          live.reduce((total, status) => total + value(status), 0)
        return {
          region: address.entityId as string,
          role: settings.role,
          health: regionHealth(findings, answers.length),
          reasons: findings.map((finding) => finding.reason),
          autonomy: "standalone" as const,
          runners: Option.match(membership, {
            onNone: () => [{ name: settings.runner, startedAt }],
            onSome: (region) =>
              region
                .view()
                .members.filter(({ state }) => state !== "dead")
                .map((member) => ({ name: member.name, startedAt: member.startedAt }))
          }),
          totals: {
            streams: streams.all.length,
            cells: answers.length,
            devices: sum((status) => status.devices),
            eventsPerSecond: sum((status) => status.eventsPerSecond),
            lag: sum((status) => status.lag),
            openIncidents: counts.openIncidents,
            quarantined: counts.quarantined
          }
        }
      })
  })
})

export const layer = RegionProtocol.toLayer(build, { maxIdleTime: Duration.hours(1), concurrency: 4 })
