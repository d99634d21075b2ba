// F11 who is given cells: only one that is away from the log alone is left out. F6: where all are, nothing moves.
import { expect, it } from "vitest"
import { ableOf, type Reach } from "../../../src/services/runtime/able.ts"

const reaches = (address: string, steady = 60_000, able = true): Reach => ({ address, able, away: 0, steady })
const away = (address: string, millis: number, able = true): Reach => ({
  address,
  able,
  away: millis,
  steady: 0
})
const names = (...runners: ReadonlyArray<Reach>) => [...ableOf(runners)].sort()

it("leaves one out that has not reached the log for ten seconds, while another has", () => {
  expect(names(reaches("a"), away("b", 9_999))).toEqual(["a", "b"])
  expect(names(reaches("a"), away("b", 10_000))).toEqual(["a"])
  expect(names(reaches("a"), away("b", 10_000), away("c", 30_000), reaches("d"))).toEqual(["a", "d"])
})

it("changes nothing where nobody reaches it, however long", () => {
  expect(names(away("a", 600_000), away("b", 590_000))).toEqual(["a", "b"])
  expect(names(away("a", 600_000), away("b", 590_000, false))).toEqual(["a"])
})

it("gives each ten seconds to find a log that is back, from when another has found it", () => {
  expect(names(reaches("a", 9_999), away("b", 600_000))).toEqual(["a", "b"])
  expect(names(reaches("a", 10_000), away("b", 610_000))).toEqual(["a"])
})

it("takes one in again that has reached it for half a minute without a break", () => {
  expect(names(reaches("a"), away("b", 20_000, false))).toEqual(["a"])
  expect(names(reaches("a"), reaches("b", 29_999, false))).toEqual(["a"])
  expect(names(reaches("a"), reaches("b", 30_000, false))).toEqual(["a", "b"])
})

it("takes in whoever is there where those that reached it have gone", () => {
  expect(names(away("b", 20_000, false))).toEqual(["b"])
  expect(names(reaches("b", 100, false), away("c", 20_000, false))).toEqual(["b", "c"])
  expect(names()).toEqual([])
})

it("decides by what is told alone: the order in which runners come does not matter", () => {
  const runners = [reaches("a"), away("b", 20_000), reaches("c", 5_000, false), away("d", 100)]
  expect(names(...runners.toReversed())).toEqual(names(...runners))
  expect(names(...runners)).toEqual(["a", "d"])
})
