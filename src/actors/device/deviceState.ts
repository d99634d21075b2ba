// What becomes of a device's record when an alert, a command or the passing of event time reaches it. Pure.
import type { DeviceRecord } from "../../schema/protocol/DeviceProtocol.ts"
import type { Severity } from "../../schema/stream/StreamDefinition.ts"
import type { Alert } from "../../schema/verdict/Alert.ts"
import type { Incident } from "../../schema/verdict/Incident.ts"

/** Lengths of event time that move an incident on. */
export interface IncidentTiming {
  /** Without an alert for this long, an incident is quiet. */
  readonly quietMillis: number
  /** Quiet for this long, it is resolved; the next alert opens another. */
  readonly resolveMillis: number
}

export interface AlertStep {
  readonly record: DeviceRecord
  /** Incidents that changed, each once, as they are after the step. */
  readonly incidents: ReadonlyArray<Incident>
  readonly alerts: ReadonlyArray<{ readonly alert: Alert; readonly incident: string }>
}

const rank: Readonly<Record<Severity, number>> = { low: 0, medium: 1, high: 2, critical: 3 }

/** A device that nobody has decided anything about. */
export const newDevice = (stream: string, device: string): DeviceRecord => ({
  stream,
  device,
  version: 0,
  incident: null,
  quarantine: null,
  override: null,
  label: null
})

const open = (alert: Alert): Incident => ({
  id: `inc-${alert.id}`,
  stream: alert.stream,
  device: alert.device,
  status: "open",
  severity: alert.severity,
  openedAt: alert.time,
  lastAlertAt: alert.time,
  resolvedAt: null,
  alerts: 1,
  firstAlert: alert.id,
  lastAlert: alert.id,
  peakEnergy: alert.energy,
  summary: alert.summary,
  label: null
})

const grow = (incident: Incident, alert: Alert): Incident => ({
  ...incident,
  status: "growing",
  severity: rank[alert.severity] > rank[incident.severity] ? alert.severity : incident.severity,
  openedAt: Math.min(incident.openedAt, alert.time),
  lastAlertAt: Math.max(incident.lastAlertAt, alert.time),
  alerts: incident.alerts + 1,
  lastAlert: alert.id,
  peakEnergy:
    incident.peakEnergy === null
      ? alert.energy
      : alert.energy === null
        ? incident.peakEnergy
        : Math.max(incident.peakEnergy, alert.energy)
})

/** Does the alert belong to this incident, or has that one ended before it? */
const belongs = (incident: Incident, alert: Alert, timing: IncidentTiming): boolean =>
  incident.status !== "resolved" &&
  alert.time <= incident.lastAlertAt + timing.quietMillis + timing.resolveMillis

/** Takes alerts that were not taken before, in the order of their offsets. Bumps the version once. */
export const takeAlerts = (
  record: DeviceRecord,
  alerts: ReadonlyArray<Alert>,
  timing: IncidentTiming
): AlertStep => {
  let incident = record.incident
  const changed = new Map<string, Incident>()
  const placed: Array<{ alert: Alert; incident: string }> = []
  for (const alert of alerts) {
    if (incident !== null && belongs(incident, alert, timing)) incident = grow(incident, alert)
    else {
      if (incident !== null && incident.status !== "resolved") {
        changed.set(incident.id, {
          ...incident,
          status: "resolved",
          resolvedAt: incident.lastAlertAt + timing.quietMillis + timing.resolveMillis
        })
      }
      incident = open(alert)
    }
    changed.set(incident.id, incident)
    placed.push({ alert, incident: incident.id })
  }
  return {
    record: { ...record, incident, version: record.version + 1 },
    incidents: [...changed.values()],
    alerts: placed
  }
}

/** Event time has passed `watermark`: the same record if nothing follows from that. */
export const passTime = (record: DeviceRecord, watermark: number, timing: IncidentTiming): DeviceRecord => {
  let { incident, override } = record
  if (incident !== null && incident.status !== "resolved") {
    const quietAt = incident.lastAlertAt + timing.quietMillis
    if (watermark >= quietAt + timing.resolveMillis) {
      incident = { ...incident, status: "resolved", resolvedAt: quietAt + timing.resolveMillis }
    } else if (watermark >= quietAt && incident.status !== "quiet")
      incident = { ...incident, status: "quiet" }
  }
  if (override !== null && watermark >= override.until) override = null
  return incident === record.incident && override === record.override
    ? record
    : { ...record, incident, override, version: record.version + 1 }
}
