// SPDX-License-Identifier: MIT

// Go: goroutines that take from one buffered channel. The same workloads, the
// same lines as bench/lib/driver.h; a program of its own because the driver is
// in C.
package main

import (
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const depth = 4096

var (
	workload string
	scale    = 1.0
)

func report(metric string, value float64, unit string) {
	fmt.Printf("vivero-bench 1 go %s %s %.6g %s\n", workload, metric, value, unit)
}

func scaled(count int) int {
	count = int(float64(count) * scale)
	return (count + 1023) / 1024 * 1024
}

func check(right bool, format string, values ...interface{}) {
	if !right {
		fmt.Fprintf(os.Stderr, "go: "+format+"\n", values...)
		os.Exit(1)
	}
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func resident() float64 {
	text, err := os.ReadFile("/proc/self/smaps_rollup")
	check(err == nil, "%v", err)
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "Rss:") {
			kilobytes, _ := strconv.Atoi(strings.Fields(line)[1])
			return float64(kilobytes) * 1024
		}
	}
	return 0
}

// A worker's own count, on cache lines of its own.
type counter struct {
	count uint64
	sum   uint64
	_     [112]byte
}

type payload [6]uint64

// pool starts workers that run what comes through a channel, and returns the
// channel and a function that closes it and adds the counts up.
func pool[task any](workers int, run func(*counter, task)) (chan task, func() counter) {
	tasks := make(chan task, depth)
	counters := make([]counter, workers)
	var running sync.WaitGroup
	for i := range counters {
		running.Add(1)
		go func(own *counter) {
			defer running.Done()
			for t := range tasks {
				run(own, t)
			}
		}(&counters[i])
	}
	return tasks, func() (total counter) {
		close(tasks)
		running.Wait()
		for i := range counters {
			total.count += counters[i].count
			total.sum += counters[i].sum
		}
		return
	}
}

func cast[task any](producers, workers, count int, run func(*counter, task), make func(int) (task, uint64)) {
	count = scaled(count)
	tasks, finish := pool(workers, run)
	sums := [64]uint64{}
	var producing sync.WaitGroup
	cpu := cpuTime()
	begin := time.Now()
	for p := 0; p < producers; p++ {
		producing.Add(1)
		go func(p int) {
			defer producing.Done()
			sum := uint64(0)
			for i := 0; i < count/producers; i++ {
				t, value := make(i)
				sum += value
				tasks <- t
			}
			sums[p] = sum
		}(p)
	}
	producing.Wait()
	total := finish()
	duration := time.Since(begin)
	cpu = cpuTime() - cpu
	sum := uint64(0)
	for _, s := range sums {
		sum += s
	}
	check(total.count == uint64(count) && total.sum == sum, "%d tasks submitted, %d ran", count, total.count)
	report("rate", float64(count)*1e3/float64(duration.Nanoseconds()), "M/s")
	report("cpu", float64(cpu.Nanoseconds())/float64(count), "ns")
}

func castTasks(producers, workers int) {
	task := func(own *counter) { own.count++ }
	cast(producers, workers, 4000000,
		func(own *counter, t func(*counter)) { t(own) },
		func(int) (func(*counter), uint64) { return task, 0 })
}

func castPayloads() {
	cast(1, 2, 4000000,
		func(own *counter, p payload) {
			own.count++
			own.sum += p[0] + p[5]
		},
		func(i int) (payload, uint64) { return payload{uint64(i), 1, 2, 3, 4, 5}, uint64(i) + 5 })
}

type question struct {
	x      int
	answer chan int
}

func percentile(sorted []int64, share float64) float64 {
	i := int(float64(len(sorted)) * share)
	if i >= len(sorted) {
		i = len(sorted) - 1
	}
	return float64(sorted[i]) / 1e3
}

func call(clients int, count int) {
	share := scaled(count) / clients
	questions, finish := pool(2, func(own *counter, q *question) {
		own.count++
		q.answer <- q.x + 1
	})
	latency := make([]int64, share*clients)
	var asking sync.WaitGroup
	begin := time.Now()
	for c := 0; c < clients; c++ {
		asking.Add(1)
		go func(latency []int64) {
			defer asking.Done()
			q := &question{answer: make(chan int, 1)}
			last := time.Now()
			for i := range latency {
				q.x = i
				questions <- q
				check(<-q.answer == i+1, "wrong answer")
				now := time.Now()
				latency[i] = now.Sub(last).Nanoseconds()
				last = now
			}
		}(latency[c*share : (c+1)*share])
	}
	asking.Wait()
	duration := time.Since(begin)
	total := finish()
	check(total.count == uint64(len(latency)), "%d calls, %d ran", len(latency), total.count)
	sort.Slice(latency, func(i, j int) bool { return latency[i] < latency[j] })
	report("rate", float64(len(latency))*1e6/float64(duration.Nanoseconds()), "k/s")
	report("p50", percentile(latency, 0.5), "us")
	report("p99", percentile(latency, 0.99), "us")
	report("p999", percentile(latency, 0.999), "us")
}

func wake() {
	count := int(2000 * scale)
	type timed struct {
		intended, submitted, began time.Time
	}
	all := make([]timed, count)
	tasks, finish := pool(2, func(own *counter, t *timed) {
		t.began = time.Now()
		own.count++
	})
	cpu := cpuTime()
	begin := time.Now()
	for i := range all {
		all[i].intended = begin.Add(time.Duration(i+1) * time.Millisecond)
		time.Sleep(time.Until(all[i].intended))
		all[i].submitted = time.Now()
		tasks <- &all[i]
	}
	total := finish()
	cpu = cpuTime() - cpu
	duration := time.Since(begin)
	check(total.count == uint64(count), "%d tasks submitted, %d ran", count, total.count)
	woken := make([]int64, count)
	late := make([]int64, count)
	for i, t := range all {
		woken[i] = t.began.Sub(t.submitted).Nanoseconds()
		late[i] = t.began.Sub(t.intended).Nanoseconds()
	}
	sort.Slice(woken, func(i, j int) bool { return woken[i] < woken[j] })
	sort.Slice(late, func(i, j int) bool { return late[i] < late[j] })
	report("p50", percentile(woken, 0.5), "us")
	report("p99", percentile(woken, 0.99), "us")
	report("late_p50", percentile(late, 0.5), "us")
	report("late_p99", percentile(late, 0.99), "us")
	report("cpu", float64(cpu.Nanoseconds())*100/float64(duration.Nanoseconds()), "%")
}

func workerMemory() {
	const workers = 10000 // goroutines are small: 64 of them cannot be seen
	before := resident()
	_, finish := pool(workers, func(own *counter, t int) { own.count++ })
	time.Sleep(200 * time.Millisecond)
	report("resident", (resident()-before)/1024/workers, "kB")
	finish()
}

func main() {
	workloads := map[string]func(){
		"cast_1_1":        func() { castTasks(1, 1) },
		"cast_1_2":        func() { castTasks(1, 2) },
		"cast_1_4":        func() { castTasks(1, 4) },
		"cast_2_2":        func() { castTasks(2, 2) },
		"cast_4_4":        func() { castTasks(4, 4) },
		"cast_payload":    castPayloads,
		"call_1":          func() { call(1, 200000) },
		"call_1_together": func() { call(1, 200000) }, // by the runner's mask
		"call_8":          func() { call(8, 400000) },
		"call_64":         func() { call(64, 400000) },
		"wake":            wake,
		"worker_memory":   workerMemory,
	}
	if len(os.Args) < 2 || len(os.Args) > 3 {
		fmt.Fprintln(os.Stderr, "usage: pool_go WORKLOAD [SCALE]")
		os.Exit(2)
	}
	if len(os.Args) == 3 {
		scale, _ = strconv.ParseFloat(os.Args[2], 64)
	}
	workload = os.Args[1]
	run, known := workloads[workload]
	if !known || scale <= 0 {
		os.Exit(77)
	}
	run()
}
