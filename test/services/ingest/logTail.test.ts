// The end of a partition in memory: holds a stretch without gaps, within its bytes, and wakes who waits for more.
import { describe, expect, it } from "vitest"
import { makeLogTail, type TailBlock } from "../../../src/services/ingest/logTail.ts"

const block = (base: number, count: number, bytes = 10): TailBlock => ({
  base,
  count,
  data: new Uint8Array(bytes)
})
const bases = (blocks: ReadonlyArray<TailBlock>) => blocks.map(({ base }) => base)

describe("the blocks", () => {
  it("are those from the position's own on, and none at the end or before the first", () => {
    const tail = makeLogTail(1_000)
    expect([tail.end, bases(tail.from(0, 100))]).toEqual([-1, []])
    for (const base of [5, 8, 11]) tail.push(block(base, 3))
    expect(tail.end).toBe(14)
    expect(bases(tail.from(4, 100))).toEqual([])
    expect(bases(tail.from(5, 100))).toEqual([5, 8, 11])
    expect(bases(tail.from(10, 100))).toEqual([8, 11])
    expect(bases(tail.from(14, 100))).toEqual([])
  })

  it("of one fetch stay within its bytes, but are at least one", () => {
    const tail = makeLogTail(1_000)
    for (const base of [0, 1, 2]) tail.push(block(base, 1))
    expect(bases(tail.from(0, 20))).toEqual([0, 1])
    expect(bases(tail.from(0, 1))).toEqual([0])
  })

  it("begin anew after a gap: another process has appended what lies between", () => {
    const tail = makeLogTail(1_000)
    tail.push(block(0, 2))
    tail.push(block(5, 1))
    expect([bases(tail.from(0, 100)), bases(tail.from(2, 100)), bases(tail.from(5, 100))]).toEqual([
      [],
      [],
      [5]
    ])
  })

  it("give way, the oldest first, where they are too many bytes", () => {
    const tail = makeLogTail(25)
    for (const base of [0, 1, 2]) tail.push(block(base, 1))
    expect([bases(tail.from(0, 100)), bases(tail.from(1, 100))]).toEqual([[], [1, 2]])
    tail.push(block(3, 1, 100))
    expect([tail.end, bases(tail.from(3, 1_000))]).toEqual([4, []])
  })
})

describe("those who wait", () => {
  const waiting = () => {
    const tail = makeLogTail(1_000)
    const woken: Array<string> = []
    const wait = (name: string, until: number) => tail.wait(tail.version, until, () => woken.push(name))
    return { tail, woken, wait }
  }

  it("are woken once when there is more, or when their time is over", () => {
    const { tail, woken, wait } = waiting()
    wait("a", 100)
    wait("b", 200)
    tail.expire(100)
    expect(woken).toEqual(["a"])
    tail.wake(false)
    tail.wake(false)
    expect(woken).toEqual(["a", "b"])
  })

  it("do not wait where something came between looking and waiting", () => {
    const { tail, woken } = waiting()
    const seen = tail.version
    tail.wake(true)
    tail.wait(seen, 100, () => woken.push("late"))
    expect(woken).toEqual(["late"])
  })

  it("may stop", () => {
    const { tail, woken, wait } = waiting()
    wait("a", 100)()
    tail.wake(false)
    tail.expire(1_000)
    expect(woken).toEqual([])
  })

  it("learn whether another process may have appended", () => {
    const { tail } = waiting()
    tail.wake(false)
    expect(tail.foreign).toBe(0)
    tail.wake(true)
    expect(tail.foreign).toBe(1)
  })
})
