// SPDX-License-Identifier: MIT

//! Rust: the pool of the book. One bounded std::sync::mpsc channel of boxed
//! closures, its receiver behind a mutex; with one worker, no mutex. The same
//! workloads, the same lines as bench/lib/driver.h.

use std::cell::Cell;
use std::process::exit;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{sync_channel, SyncSender};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const DEPTH: usize = 4096;
const SLOTS: usize = 128;

type Task = Box<dyn FnOnce() + Send>;

/// A worker's own count, on cache lines of its own.
#[repr(align(128))]
struct Slot {
    count: AtomicU64,
    sum: AtomicU64,
}

#[allow(clippy::declare_interior_mutable_const)]
const EMPTY: Slot = Slot {
    count: AtomicU64::new(0),
    sum: AtomicU64::new(0),
};
static COUNTS: [Slot; SLOTS] = [EMPTY; SLOTS];
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local!(static OWN: Cell<usize> = Cell::new(SLOTS));

fn count(value: u64) {
    OWN.with(|own| {
        if own.get() == SLOTS {
            own.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        let slot = &COUNTS[own.get()];
        slot.sum
            .store(slot.sum.load(Ordering::Relaxed) + value, Ordering::Relaxed);
        slot.count
            .store(slot.count.load(Ordering::Relaxed) + 1, Ordering::Release);
    })
}

fn counted() -> (u64, u64) {
    COUNTS.iter().fold((0, 0), |(count, sum), slot| {
        let more = slot.count.load(Ordering::Acquire);
        (count + more, sum + slot.sum.load(Ordering::Relaxed))
    })
}

struct Pool {
    tasks: SyncSender<Task>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Pool {
    fn open(workers: usize) -> Pool {
        let (tasks, queue) = sync_channel::<Task>(DEPTH);
        let mut threads = Vec::new();
        if workers == 1 {
            threads.push(thread::spawn(move || queue.iter().for_each(|task| task())));
        } else {
            let queue = Arc::new(Mutex::new(queue));
            for _ in 0..workers {
                let queue = queue.clone();
                threads.push(thread::spawn(move || loop {
                    let task = queue.lock().unwrap().recv();
                    match task {
                        Ok(task) => task(),
                        Err(_) => return,
                    }
                }));
            }
        }
        Pool { tasks, threads }
    }

    /// Waits until all is done and compares what ran with what should have.
    fn close(self, count: u64, sum: u64) {
        drop(self.tasks);
        for thread in self.threads {
            thread.join().unwrap();
        }
        if counted() != (count, sum) {
            eprintln!("rust: {} tasks submitted, {} ran", count, counted().0);
            exit(1);
        }
    }
}

struct Bench {
    workload: String,
    scale: f64,
}

impl Bench {
    fn report(&self, metric: &str, value: f64, unit: &str) {
        println!(
            "vivero-bench 1 rust {} {} {:.6} {}",
            self.workload, metric, value, unit
        );
    }

    fn scaled(&self, count: usize) -> usize {
        ((count as f64 * self.scale) as usize + 1023) / 1024 * 1024
    }

    fn cast(&self, producers: usize, workers: usize, payloads: bool) {
        let count = self.scaled(4_000_000);
        let share = count / producers;
        let pool = Pool::open(workers);
        let begin = Instant::now();
        let threads: Vec<_> = (0..producers)
            .map(|_| {
                let tasks = pool.tasks.clone();
                thread::spawn(move || produce(&tasks, share as u64, payloads))
            })
            .collect();
        let sum = threads.into_iter().map(|t| t.join().unwrap()).sum::<u64>();
        while counted().0 < count as u64 {
            thread::sleep(Duration::from_micros(50));
        }
        let duration = begin.elapsed().as_nanos() as f64;
        self.report("rate", count as f64 * 1e3 / duration, "M/s");
        pool.close(count as u64, sum);
    }

    fn call(&self, clients: usize, count: usize) {
        let share = self.scaled(count) / clients;
        let pool = Pool::open(2);
        let start = Arc::new(Barrier::new(clients + 1));
        let threads: Vec<_> = (0..clients)
            .map(|_| {
                let tasks = pool.tasks.clone();
                let start = start.clone();
                thread::spawn(move || {
                    start.wait();
                    ask(&tasks, share)
                })
            })
            .collect();
        start.wait();
        let begin = Instant::now();
        let mut latency: Vec<u64> = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        let duration = begin.elapsed().as_nanos() as f64;
        self.report("rate", latency.len() as f64 * 1e6 / duration, "k/s");
        self.percentiles(&mut latency, &[("p50", 0.5), ("p99", 0.99), ("p999", 0.999)]);
        pool.close(latency.len() as u64, 0);
    }

    fn percentiles(&self, values: &mut [u64], which: &[(&str, f64)]) {
        values.sort_unstable();
        for (name, share) in which {
            let i = (values.len() as f64 * share) as usize;
            self.report(name, values[i.min(values.len() - 1)] as f64 / 1e3, "us");
        }
    }

    fn wake(&self) {
        let count = (2000.0 * self.scale) as u32;
        let pool = Pool::open(2);
        let delays = Arc::new(Mutex::new(Vec::with_capacity(count as usize)));
        let begin = Instant::now();
        for i in 1..=count {
            let intended = begin + Duration::from_millis(1) * i;
            thread::sleep(intended.saturating_duration_since(Instant::now()));
            let delays = delays.clone();
            let submitted = Instant::now();
            let task = move || {
                let began = Instant::now();
                let woken = began.duration_since(submitted).as_nanos() as u64;
                let late = began.duration_since(intended).as_nanos() as u64;
                delays.lock().unwrap().push((woken, late));
                crate::count(0);
            };
            pool.tasks.send(Box::new(task)).unwrap();
        }
        pool.close(count as u64, 0);
        let delays = delays.lock().unwrap();
        let mut woken: Vec<u64> = delays.iter().map(|d| d.0).collect();
        let mut late: Vec<u64> = delays.iter().map(|d| d.1).collect();
        self.percentiles(&mut woken, &[("p50", 0.5), ("p99", 0.99)]);
        self.percentiles(&mut late, &[("late_p50", 0.5), ("late_p99", 0.99)]);
    }
}

fn produce(tasks: &SyncSender<Task>, share: u64, payloads: bool) -> u64 {
    let mut sum = 0;
    for i in 0..share {
        if payloads {
            let payload = [i, 1, 2, 3, 4, 5];
            sum += i + 5;
            let task = move || count(payload[0] + payload[5]);
            tasks.send(Box::new(task)).unwrap();
        } else {
            tasks.send(Box::new(|| count(0))).unwrap();
        }
    }
    sum
}

/// One client: ask, wait for the answer, check it, ask again.
fn ask(tasks: &SyncSender<Task>, share: usize) -> Vec<u64> {
    let mut latency = Vec::with_capacity(share);
    let (reply, answer) = sync_channel::<usize>(1);
    let mut last = Instant::now();
    for x in 0..share {
        let reply = reply.clone();
        let task = move || {
            count(0);
            reply.send(x + 1).unwrap();
        };
        tasks.send(Box::new(task)).unwrap();
        if answer.recv().unwrap() != x + 1 {
            eprintln!("rust: wrong answer to {}", x);
            exit(1);
        }
        let now = Instant::now();
        latency.push(now.duration_since(last).as_nanos() as u64);
        last = now;
    }
    latency
}

fn main() {
    let values: Vec<String> = std::env::args().collect();
    if values.len() < 2 || values.len() > 3 {
        eprintln!("usage: pool_rust WORKLOAD [SCALE]");
        exit(2);
    }
    let scale = values.get(2).map_or(1.0, |text| text.parse().unwrap_or(0.0));
    if scale <= 0.0 {
        exit(2);
    }
    let workload = values[1].clone();
    let bench = Bench { workload, scale };
    match bench.workload.as_str() {
        "cast_1_1" => bench.cast(1, 1, false),
        "cast_1_2" => bench.cast(1, 2, false),
        "cast_1_4" => bench.cast(1, 4, false),
        "cast_2_2" => bench.cast(2, 2, false),
        "cast_4_4" => bench.cast(4, 4, false),
        "cast_payload" => bench.cast(1, 2, true),
        "call_1" => bench.call(1, 100_000),
        "call_1_together" => bench.call(1, 100_000), // by the runner's mask
        "call_8" => bench.call(8, 200_000),
        "call_64" => bench.call(64, 200_000),
        "wake" => bench.wake(),
        _ => exit(77),
    }
}
