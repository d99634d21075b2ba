// What a cell says of a device, and of its devices page by page.
import { DeviceFlag } from "../../schema/event/DeviceColumns.ts"
import type { CellDevice, CellDeviceSummary } from "../../schema/protocol/CellProtocol.ts"
import type { CellHandle } from "./CellHandle.ts"
import type { CellCore } from "./cellCore.ts"

/** Null for a device that the cell has never seen. */
export const describeDevice = (
  core: CellCore,
  handle: CellHandle,
  owner: string,
  device: string
): CellDevice | null => {
  const row = core.deviceRow(device)
  if (row < 0 || row >= core.columns.count) return null
  const { columns, plan } = core
  const S = columns.signalCount
  const context = handle.context
  return {
    stream: plan.stream,
    device,
    partition: context?.key.partition ?? 0,
    owner,
    epoch: context?.epoch ?? 0,
    events: columns.events[row],
    lastEventAt: columns.lastTime[row],
    baselines: plan.signals.flatMap((signal, k) => {
      const mean = columns.mean[row * S + k]
      return Number.isNaN(mean)
        ? []
        : [
            {
              signal,
              scale: k >= plan.numbers.length || plan.numbers[k].log ? ("log" as const) : ("linear" as const),
              mean,
              deviation: Math.sqrt(columns.variance[row * S + k])
            }
          ]
    }),
    windows: core.windowsOf(row),
    quietUntil: columns.quietUntil[row] === 0 ? null : columns.quietUntil[row] * 1_000,
    thresholdShift: columns.threshold[row],
    quarantined: (columns.flags[row] & DeviceFlag.quarantined) !== 0,
    recent: handle.recent.of(row).map((score) => ({
      offset: score.offset,
      time: score.time,
      path: score.path,
      energy: score.energy,
      pvalue: core.pvalueOf(score.energy, score.staged ? "two" : score.path),
      alerted: score.alerted,
      contributions: []
    }))
  }
}

/** Devices after position `after`, in the order in which the cell met them. */
export const listDevices = (
  core: CellCore,
  after: number,
  limit: number,
  prefix: string
): {
  readonly devices: ReadonlyArray<CellDeviceSummary>
  readonly next: number | null
  readonly total: number
} => {
  const { columns } = core
  const devices: Array<CellDeviceSummary> = []
  let row = Math.max(-1, after) + 1
  for (; row < columns.count && devices.length < limit; row++) {
    const device = core.deviceIds.text(row)
    if (prefix !== "" && !device.startsWith(prefix)) continue
    devices.push({
      device,
      stream: core.plan.stream,
      partition: core.partition,
      events: columns.events[row],
      lastEventAt: columns.lastTime[row],
      quarantined: (columns.flags[row] & DeviceFlag.quarantined) !== 0
    })
  }
  return { devices, next: row < columns.count ? row - 1 : null, total: columns.count }
}
