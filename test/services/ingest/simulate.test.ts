// Simulated devices: repeatable, plausible where clean, and bent exactly where the log of injections says so.
import { readFileSync } from "node:fs"
import { Schema } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { parse } from "yaml"
import { EventFlag, makeEventColumns } from "../../../src/schema/event/Batch.ts"
import { makeRejects } from "../../../src/schema/event/DeadLetter.ts"
import { StreamDefinition } from "../../../src/schema/stream/StreamDefinition.ts"
import { planStream } from "../../../src/schema/stream/StreamPlan.ts"
import { makeDecoder } from "../../../src/services/ingest/decode.ts"
import { demoStream } from "../../../src/services/ingest/demoStream.ts"
import { textBytes, writeFixed, writeInteger } from "../../../src/services/ingest/eventText.ts"
import { kinds, rhythmAt, simulatedNumbers } from "../../../src/services/ingest/fleet.ts"
import { anomalyKinds, type Injection } from "../../../src/services/ingest/injection.ts"
import { makeRandom } from "../../../src/services/ingest/random.ts"
import { batchOf } from "../../../src/services/ingest/recordBatch.ts"
import { makeSimulation, type SimEvent } from "../../../src/services/ingest/simulate.ts"
import { makeInterner } from "../../../src/services/state/interner.ts"

const start = Date.UTC(2026, 0, 12, 6)
const text = (event: SimEvent): string => new TextDecoder().decode(event.value)
const read = (event: SimEvent): Record<string, unknown> => JSON.parse(text(event))
const isLog = [false, false, false, true, true]

/** z of each numeric field against the device's own level and rhythm, in its own total deviations. */
const residuals = (simulation: ReturnType<typeof makeSimulation>, event: SimEvent): ReadonlyArray<number> => {
  const d = simulation.fleet.names.indexOf(event.device)
  const body = read(event)
  return simulatedNumbers.map((name, f) => {
    const raw = body[name]
    if (typeof raw !== "number") return Number.NaN
    const at = d * simulatedNumbers.length + f
    const { fleet } = simulation
    const expected = fleet.level[at] + fleet.daily[at] * rhythmAt(event.time, fleet.peakMillis[d])
    return ((isLog[f] ? Math.log(raw) : raw) - expected) / fleet.sigma[at]
  })
}

describe("a repeatable sequence", () => {
  it("is the same for a seed and another for another seed or stream", () => {
    const draw = (seed: number, stream: number) => {
      const random = makeRandom(seed, stream)
      return Array.from({ length: 8 }, random.uniform)
    }
    expect(draw(7, 0)).toEqual(draw(7, 0))
    expect(draw(7, 0)).not.toEqual(draw(8, 0))
    expect(draw(7, 0)).not.toEqual(draw(7, 1))
  })

  it("is evenly spread, and normal where asked, within four deviations", () => {
    const random = makeRandom(3)
    const n = 200_000
    const tenths = new Array<number>(10).fill(0)
    let sum = 0
    let squares = 0
    let largest = 0
    for (let i = 0; i < n; i++) {
      tenths[Math.floor(random.uniform() * 10)]++
      const x = random.normal()
      sum += x
      squares += x * x
      largest = Math.max(largest, Math.abs(x))
    }
    // Chi-square with 9 degrees of freedom: 27.9 is its 99.9 % quantile.
    expect(tenths.reduce((chi, count) => chi + (count - n / 10) ** 2 / (n / 10), 0)).toBeLessThan(27.9)
    expect(Math.abs(sum / n)).toBeLessThan(0.01)
    expect(Math.abs(squares / n - 1)).toBeLessThan(0.02)
    expect(largest).toBeLessThanOrEqual(4)
  })

  it("draws integers below the bound, all of them", () => {
    const random = makeRandom(5)
    const seen = new Set(Array.from({ length: 500 }, () => random.integer(7)))
    expect([...seen].sort()).toEqual([0, 1, 2, 3, 4, 5, 6])
  })
})

describe("numbers as text", () => {
  const written = (write: (bytes: Uint8Array, at: number) => number): string => {
    const bytes = new Uint8Array(64)
    return new TextDecoder().decode(bytes.subarray(3, write(bytes, 3)))
  }

  it("writes any safe whole number as String does", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }), (n) => {
        expect(written((bytes, at) => writeInteger(bytes, at, n))).toBe(String(n))
      })
    )
  })

  it("writes decimals that read back as the rounded number", () => {
    fc.assert(
      fc.property(
        fc.double({ min: -1e9, max: 1e9, noNaN: true }),
        fc.integer({ min: 0, max: 4 }),
        (x, decimals) => {
          const scale = 10 ** decimals
          const back = JSON.parse(written((bytes, at) => writeFixed(bytes, at, x, decimals)))
          expect(back).toBeCloseTo((Math.sign(x) * Math.round(Math.abs(x) * scale)) / scale, decimals + 1)
        }
      )
    )
    expect(written((bytes, at) => writeFixed(bytes, at, -0.004, 2))).toBe("0.00")
    expect(written((bytes, at) => writeFixed(bytes, at, -19.5, 2))).toBe("-19.50")
  })
})

describe("the demo's stream", () => {
  it("is a valid definition whose yaml example says the same", () => {
    const example = parse(
      readFileSync(new URL("../../../deploy/examples/demo.yaml", import.meta.url), "utf8")
    )
    expect(example).toEqual(demoStream)
    const plan = planStream(
      Schema.decodeUnknownSync(StreamDefinition, { onExcessProperty: "error" })(example)
    )
    expect(plan.numbers.map((column) => column.name)).toEqual([...simulatedNumbers])
    expect(plan.numbers.map((column) => column.log)).toEqual(isLog)
    expect(plan.windows.map((window) => window.name)).toEqual(["count5m", "bytes15m"])
    expect(plan.budget).toBe(2e-5)
    expect(plan.quietMillis).toBe(600_000)
  })
})

describe("a simulation", () => {
  it("gives the same bytes for a seed, however many events are asked for at a time", () => {
    const options = { seed: 11, devices: 40, startMillis: start, warmupEvents: 500, injectEvery: 50 }
    const whole = makeSimulation(options).next(6_000).map(text)
    const other = makeSimulation(options)
    const parts: Array<string> = []
    for (const count of [1, 2, 997, 3_000, 2_000]) parts.push(...other.next(count).map(text))
    expect(parts).toEqual(whole)
    expect(
      makeSimulation({ ...options, seed: 12 })
        .next(6_000)
        .map(text)
    ).not.toEqual(whole)
  })

  it("speaks the demo's stream: every event is JSON with its device, time, a unique id and known fields", () => {
    const simulation = makeSimulation({
      seed: 2,
      devices: 50,
      startMillis: start,
      warmupEvents: 1_000,
      injectEvery: 100
    })
    const known = new Set(["id", "device", "ts", ...Object.keys(demoStream.fields)])
    const ids = new Set<unknown>()
    const last = new Map<string, number>()
    let missing = 0
    let fields = 0
    for (const [position, event] of simulation.next(20_000).entries()) {
      const body = read(event)
      expect(event.index).toBe(position)
      expect(body["device"]).toBe(event.device)
      expect(body["ts"]).toBe(event.time)
      expect(event.key).toEqual(textBytes(event.device))
      expect(Object.keys(body).every((key) => known.has(key))).toBe(true)
      // A device's own events are in order; only the extra ones of a flood may cross a report by its jitter.
      if (event.injected?.kind !== "flood") expect(event.time).toBeGreaterThan(last.get(event.device) ?? 0)
      if (event.injected?.kind !== "flood") last.set(event.device, event.time)
      ids.add(body["id"])
      const kind = kinds.find((one) => one.kind === body["kind"])
      const sensors = simulatedNumbers.filter((_, f) => kind?.fields[f] !== null)
      fields += 1
      missing += sensors.filter((name) => !(name in body)).length
    }
    expect(ids.size).toBe(20_000)
    expect(missing).toBeGreaterThan(0)
    expect(missing / fields).toBeLessThan(0.002)
  })

  it("is read by the decoder without a refusal, device, time and numbers as they were meant", () => {
    const simulation = makeSimulation({
      seed: 8,
      devices: 40,
      startMillis: start,
      warmupEvents: 500,
      injectEvery: 40
    })
    const events = simulation.next(8_000)
    const plan = planStream(Schema.decodeUnknownSync(StreamDefinition)(demoStream))
    const interners = {
      devices: makeInterner(),
      categories: plan.categories.map((column) => makeInterner({ max: column.size }))
    }
    const records = events.map((event, offset) => ({
      offset,
      timestamp: event.time + 1_000,
      value: event.value
    }))
    const out = makeEventColumns(events.length, plan.numbers.length, plan.categories.length)
    const rejects = makeRejects()
    makeDecoder(plan, interners).decode(
      batchOf(records, events.length, events.length),
      0,
      events.length,
      out,
      rejects
    )
    expect(rejects.detail).toEqual([])
    expect(out.count).toBe(events.length)
    for (const [row, event] of events.entries()) {
      expect(interners.devices.text(out.device[row])).toBe(event.device)
      expect(out.time[row]).toBe(event.time)
      expect(out.flags[row] & EventFlag.ahead).toBe(0)
      const body = read(event)
      for (const [f, name] of simulatedNumbers.entries()) {
        expect(out.numbers[row * plan.numbers.length + f]).toBe(body[name] ?? Number.NaN)
      }
    }
  })

  it("keeps events near enough in order for the declared lateness", () => {
    const simulation = makeSimulation({
      seed: 4,
      devices: 300,
      startMillis: start,
      warmupEvents: 2_000,
      injectEvery: 200
    })
    let newest = 0
    let worst = 0
    for (const event of simulation.next(30_000)) {
      worst = Math.max(worst, newest - event.time)
      newest = Math.max(newest, event.time)
    }
    expect(worst).toBeLessThan(10_000)
  })

  it("lets each device report about once in the interval asked for", () => {
    const simulation = makeSimulation({ seed: 1, devices: 1_000, startMillis: start, injectEvery: 0 })
    simulation.next(50_000)
    const perDevice = ((simulation.now - start) / 50_000) * 1_000
    expect(perDevice).toBeGreaterThan(50_000)
    expect(perDevice).toBeLessThan(70_000)
    expect(simulation.millisPerEvent * 1_000).toBeCloseTo(perDevice, -3)
    expect(new Set(Array.from(simulation.fleet.kind)).size).toBe(kinds.length)
  })

  it("has no outlier while clean: every value within four deviations of level and rhythm, no long run of equals", () => {
    const simulation = makeSimulation({ seed: 9, devices: 60, startMillis: start, injectEvery: 0 })
    const previous = new Map<string, unknown>()
    const run = new Map<string, number>()
    let worst = 0
    let longest = 0
    for (const event of simulation.next(100_000)) {
      for (const z of residuals(simulation, event)) if (!Number.isNaN(z)) worst = Math.max(worst, Math.abs(z))
      const body = read(event)
      for (const name of simulatedNumbers) {
        const key = `${event.device}/${name}`
        run.set(
          key,
          body[name] !== undefined && body[name] === previous.get(key) ? (run.get(key) ?? 1) + 1 : 1
        )
        longest = Math.max(longest, run.get(key) as number)
        previous.set(key, body[name])
      }
    }
    expect(simulation.injections).toEqual([])
    expect(worst).toBeLessThanOrEqual(4.1)
    expect(longest).toBeLessThanOrEqual(5)
  })

  it("follows a daily rhythm in event time", () => {
    const simulation = makeSimulation({ seed: 9, devices: 8, startMillis: start, injectEvery: 0 })
    const pump = simulation.fleet.names[0]
    const byHour = Array.from({ length: 24 }, () => ({ sum: 0, n: 0 }))
    for (const event of simulation.next(60_000)) {
      if (event.device !== pump) continue
      const value = read(event)["temperature"]
      const hour = byHour[new Date(event.time).getUTCHours()]
      if (typeof value !== "number") continue
      hour.sum += value
      hour.n++
    }
    const mean = (hour: number) => byHour[hour].sum / byHour[hour].n
    expect(mean(14) - mean(2)).toBeGreaterThan(1)
  })

  it("injects nothing during the warm-up and never two anomalies at once on a device", () => {
    const simulation = makeSimulation({
      seed: 6,
      devices: 30,
      startMillis: start,
      warmupEvents: 3_000,
      injectEvery: 20
    })
    const events = simulation.next(40_000)
    expect(events.slice(0, 3_000).every((event) => event.injected === undefined)).toBe(true)
    const byDevice = new Map<string, Array<Injection>>()
    for (const one of simulation.injections)
      byDevice.set(one.device, [...(byDevice.get(one.device) ?? []), one])
    for (const list of byDevice.values()) {
      for (let i = 1; i < list.length; i++) {
        expect(list[i - 1].over).toBe(true)
        expect(list[i].startedAt).toBeGreaterThan(list[i - 1].endsAt + 10 * 60_000)
      }
    }
  })

  it("changes nothing outside its anomalies", () => {
    const options = { seed: 21, devices: 40, startMillis: start, warmupEvents: 500 }
    const bent = makeSimulation({ ...options, injectEvery: 60 }).next(20_000)
    const clean = new Set(
      makeSimulation({ ...options, injectEvery: 0 })
        .next(20_000)
        .map(text)
    )
    const untouched = bent.filter((event) => event.injected === undefined)
    expect(untouched.length).toBeGreaterThan(5_000)
    expect(untouched.filter((event) => !clean.has(text(event)))).toEqual([])
  })
})

describe("injected anomalies", () => {
  const simulation = makeSimulation({
    seed: 31,
    devices: 200,
    startMillis: start,
    warmupEvents: 4_000,
    injectEvery: 150
  })
  const events = simulation.next(80_000)
  const members = new Map<string, Array<SimEvent>>()
  for (const event of events) {
    if (event.injected === undefined) continue
    members.set(event.injected.id, [...(members.get(event.injected.id) ?? []), event])
  }
  const over = (kind: Injection["kind"]) =>
    simulation.injections.filter((one) => one.kind === kind && one.over)
  const fieldOf = (one: Injection) => simulatedNumbers.indexOf(one.field as (typeof simulatedNumbers)[number])

  it("come in equal numbers of every kind, about as often as asked for", () => {
    const counts = anomalyKinds.map((kind) => simulation.injections.filter((one) => one.kind === kind).length)
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
    expect(simulation.injections.length).toBeGreaterThan((76_000 / 150) * 0.75)
    expect(simulation.injections.length).toBeLessThan((76_000 / 150) * 1.25)
  })

  it("are logged with exactly the events that carry them", () => {
    for (const one of simulation.injections) {
      const own = members.get(one.id) as Array<SimEvent>
      expect(own.every((event) => event.device === one.device)).toBe(true)
      expect(one.events).toBe(own.length)
      expect(one.firstEventIndex).toBe(own[0].index)
      expect(one.lastEventIndex).toBe(own[own.length - 1].index)
      expect(one.startedAt).toBe(own[0].time)
      expect(one.endsAt).toBe(own[own.length - 1].time)
      if (one.over) expect(one.events).toBe(one.plannedEvents)
      expect(simulation.injectionAt(one.device, one.startedAt, 0)).toBe(one)
      expect(simulation.injectionAt(one.device, one.endsAt + 500, 1_000)).toBe(one)
      expect(simulation.injectionAt(one.device, one.startedAt - 1, 0)).not.toBe(one)
    }
  })

  it("spike: one field jumps by 8 to 15 deviations for 1 to 3 events", () => {
    for (const one of over("spike")) {
      const own = members.get(one.id) as Array<SimEvent>
      expect(own.length).toBeLessThanOrEqual(3)
      expect(Math.abs(one.size)).toBeGreaterThanOrEqual(8)
      expect(Math.abs(one.size)).toBeLessThanOrEqual(15)
      for (const event of own) {
        const z = residuals(simulation, event)
        // Rounding to the unit sent costs a hair where a log field drops to near nothing.
        expect(Math.abs(z[fieldOf(one)] - one.size)).toBeLessThan(4.3)
        expect(z.filter((value) => Math.abs(value) > 4.1).length).toBe(1)
      }
    }
  })

  it("drift: one field creeps to 6 to 10 deviations over 60 to 100 events", () => {
    expect(over("drift").length).toBeGreaterThan(30)
    for (const one of over("drift")) {
      const own = members.get(one.id) as Array<SimEvent>
      expect(own.length).toBeGreaterThanOrEqual(60)
      expect(own.length).toBeLessThanOrEqual(100)
      const z = own.map((event) => residuals(simulation, event)[fieldOf(one)])
      const third = Math.floor(z.length / 3)
      const mean = (list: ReadonlyArray<number>) => list.reduce((a, b) => a + b, 0) / list.length
      const rise = mean(z.slice(-third)) - mean(z.slice(0, third))
      expect(rise * Math.sign(one.size)).toBeGreaterThan(2)
      expect(Math.abs(z[z.length - 1] - one.size)).toBeLessThan(4.3)
    }
  })

  it("stuck: a field repeats one value in 24 events or more", () => {
    for (const one of over("stuck")) {
      const own = members.get(one.id) as Array<SimEvent>
      expect(own.length).toBeGreaterThanOrEqual(24)
      expect(new Set(own.map((event) => read(event)[one.field as string])).size).toBe(1)
      expect(read(own[0])[one.field as string]).toBeDefined()
    }
  })

  it("flood: at least twenty times the device's rate for a minute or more", () => {
    for (const one of over("flood")) {
      const own = members.get(one.id) as Array<SimEvent>
      const kind = kinds.find((each) => one.device.startsWith(each.kind))
      const period = (kind?.every ?? 0) * 30_000
      expect(one.endsAt - one.startedAt).toBeGreaterThanOrEqual(59_000)
      expect(own.length / ((one.endsAt - one.startedAt) / period)).toBeGreaterThan(19)
    }
  })

  it("rare category: a value that no clean event has", () => {
    const clean = new Set<unknown>()
    for (const event of events) {
      if (event.injected !== undefined) continue
      const body = read(event)
      for (const name of ["mode", "firmware", "errorCode"]) clean.add(body[name])
    }
    for (const one of over("rare-category")) {
      for (const event of members.get(one.id) as Array<SimEvent>) {
        const value = read(event)[one.field as string]
        expect(clean.has(value)).toBe(false)
        expect(one.detail).toContain(String(value))
      }
    }
  })
})
