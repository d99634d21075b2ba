import { describe, expect, it } from "vitest"
import { makeRandom, permutation } from "../../../src/services/train/random.ts"

const first = (seed: number, stream?: number) => {
  const random = makeRandom(seed, stream)
  return Array.from({ length: 4 }, () => random.uniform())
}

describe("a seeded generator", () => {
  it("draws the same numbers for the same seed, and others for another seed or stream", () => {
    expect(first(1)).toEqual(first(1))
    expect(first(1)).not.toEqual(first(2))
    expect(first(1)).not.toEqual(first(1, 1))
  })

  it("fills [0, 1) evenly and has standard normals", () => {
    const random = makeRandom(11)
    let sum = 0
    let squares = 0
    const bins = new Array<number>(10).fill(0)
    for (let at = 0; at < 100_000; at++) {
      const z = random.normal()
      sum += z
      squares += z * z
      bins[random.below(10)]++
    }
    expect(Math.abs(sum / 100_000)).toBeLessThan(0.02)
    expect(Math.abs(squares / 100_000 - 1)).toBeLessThan(0.02)
    expect(Math.max(...bins) - Math.min(...bins)).toBeLessThan(600)
  })

  it("permutes every row once", () => {
    const order = permutation(1_000, makeRandom(3))
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 1_000 }, (_, at) => at))
  })
})
