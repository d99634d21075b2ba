// The life of a device's incident, step by step.
import { describe, expect, it } from "vitest"
import { newDevice, passTime, takeAlerts } from "../../../src/actors/device/deviceState.ts"
import { AlertId } from "../../../src/schema/Ids.ts"
import type { Alert } from "../../../src/schema/verdict/Alert.ts"

const timing = { quietMillis: 600, resolveMillis: 3_600 }

const alert = (offset: number, time: number, more: Partial<Alert> = {}): Alert => ({
  id: AlertId.make(`flows.0.${offset}.model`),
  stream: "flows",
  partition: 0,
  offset,
  device: "d-1",
  time,
  recordTime: time,
  severity: "medium",
  rule: null,
  escalated: false,
  path: "fast",
  model: null,
  energy: 10,
  pvalue: 1e-5,
  threshold: 5,
  contributions: [],
  prototype: null,
  quarantined: false,
  summary: "temperature was 9, expected 3",
  ...more
})

describe("an incident", () => {
  it("opens with the first alert and is named after it", () => {
    const step = takeAlerts(newDevice("flows", "d-1"), [alert(7, 1_000)], timing)
    expect(step.record.incident).toMatchObject({
      id: "inc-flows.0.7.model",
      status: "open",
      alerts: 1,
      openedAt: 1_000,
      severity: "medium"
    })
    expect(step.record.version).toBe(1)
    expect(step.alerts).toEqual([{ alert: alert(7, 1_000), incident: "inc-flows.0.7.model" }])
  })

  it("grows with the next, takes the higher severity and the peak energy", () => {
    const first = takeAlerts(newDevice("flows", "d-1"), [alert(7, 1_000)], timing)
    const second = takeAlerts(
      first.record,
      [alert(9, 1_500, { severity: "high", energy: 30 }), alert(12, 1_400, { energy: null })],
      timing
    )
    expect(second.incidents).toHaveLength(1)
    expect(second.record.incident).toMatchObject({
      id: "inc-flows.0.7.model",
      status: "growing",
      alerts: 3,
      severity: "high",
      peakEnergy: 30,
      lastAlertAt: 1_500,
      lastAlert: "flows.0.12.model"
    })
  })

  it("turns quiet, then resolved, as event time passes, each once", () => {
    const record = takeAlerts(newDevice("flows", "d-1"), [alert(7, 1_000)], timing).record
    expect(passTime(record, 1_599, timing)).toBe(record)
    const quiet = passTime(record, 1_600, timing)
    expect(quiet.incident?.status).toBe("quiet")
    expect(passTime(quiet, 1_700, timing)).toBe(quiet)
    const resolved = passTime(quiet, 5_200, timing)
    expect(resolved.incident).toMatchObject({ status: "resolved", resolvedAt: 5_200 })
  })

  it("is followed by another once it has ended, whether or not anyone looked in between", () => {
    const record = takeAlerts(newDevice("flows", "d-1"), [alert(7, 1_000)], timing).record
    const late = takeAlerts(record, [alert(50, 5_201)], timing)
    expect(late.incidents.map((incident) => [incident.id, incident.status])).toEqual([
      ["inc-flows.0.7.model", "resolved"],
      ["inc-flows.0.50.model", "open"]
    ])
    const swept = passTime(record, 9_999, timing)
    expect(takeAlerts(swept, [alert(50, 9_999)], timing).record.incident?.id).toBe("inc-flows.0.50.model")
  })

  it("grows again out of quiet", () => {
    const record = takeAlerts(newDevice("flows", "d-1"), [alert(7, 1_000)], timing).record
    const quiet = passTime(record, 2_000, timing)
    expect(takeAlerts(quiet, [alert(8, 2_100)], timing).record.incident).toMatchObject({
      status: "growing",
      alerts: 2
    })
  })
})

describe("an override", () => {
  it("ends when event time reaches its expiry", () => {
    const record = {
      ...newDevice("flows", "d-1"),
      override: { mute: true, shift: 0, until: 500, reason: "maintenance", by: "ana", at: 1 }
    }
    expect(passTime(record, 499, timing)).toBe(record)
    expect(passTime(record, 500, timing)).toMatchObject({ override: null, version: 1 })
  })
})
