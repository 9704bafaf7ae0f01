%% SPDX-License-Identifier: MIT

%% Erlang/OTP: gen_server processes, each producer sends to them by turns. The
%% same workloads, the same lines as bench/lib/driver.h.
-module(pool_erlang).
-behaviour(gen_server).
-export([main/1]).
-export([init/1, handle_call/3, handle_cast/2]).

%% ---- The worker ------------------------------------------------------------

init([]) -> {ok, {0, 0}}.

handle_call({add_one, X}, _From, {Count, Sum}) ->
    {reply, X + 1, {Count + 1, Sum}};
handle_call(counted, _From, Counted) ->
    {reply, Counted, Counted}.

handle_cast(run, {Count, Sum}) ->
    {noreply, {Count + 1, Sum}};
handle_cast({take, A, _, _, _, _, F}, {Count, Sum}) ->
    {noreply, {Count + 1, Sum + A + F}};
handle_cast({timed, Submitted, Client}, {Count, Sum}) ->
    Began = now_ns(),
    Client ! {delay, Began - Submitted},
    {noreply, {Count + 1, Sum}}.

%% ---- Helpers ---------------------------------------------------------------

now_ns() -> erlang:monotonic_time(nanosecond).

report(Metric, Value, Unit) ->
    io:format("vivero-bench 1 erlang ~s ~s ~.6f ~s~n",
              [get(workload), Metric, float(Value), Unit]).

scaled(Count) -> (trunc(Count * get(scale)) + 1023) div 1024 * 1024.

open(Workers) ->
    list_to_tuple([begin
                       {ok, Pid} = gen_server:start_link(?MODULE, [], []),
                       Pid
                   end || _ <- lists:seq(1, Workers)]).

%% Asked behind everything the producers sent, so all of it has run.
check(Workers, Count, Sum) ->
    Counted = [gen_server:call(Pid, counted, infinity)
               || Pid <- tuple_to_list(Workers)],
    case {lists:sum([C || {C, _} <- Counted]),
          lists:sum([S || {_, S} <- Counted])} of
        {Count, Sum} -> ok;
        Other -> io:format(standard_error, "erlang: ~p submitted, ~p ran~n",
                           [{Count, Sum}, Other]),
                 halt(1)
    end.

percentile(Sorted, Share) ->
    Index = min(trunc(tuple_size(Sorted) * Share) + 1, tuple_size(Sorted)),
    element(Index, Sorted) / 1000.

percentiles(Values, Which) ->
    Sorted = list_to_tuple(lists:sort(Values)),
    [report(Name, percentile(Sorted, Share), "us") || {Name, Share} <- Which].

resident() ->
    {ok, Text} = file:read_file("/proc/self/smaps_rollup"),
    {match, [Kilobytes]} = re:run(Text, "Rss:\\s*([0-9]+)",
                                  [{capture, [1], list}]),
    list_to_integer(Kilobytes) * 1024.

%% ---- Workloads -------------------------------------------------------------

send(0, _, _, _) -> ok;
send(I, Kind, Workers, Turn) ->
    Message = case Kind of
                  plain -> run;
                  payload -> {take, I, 1, 2, 3, 4, 5}
              end,
    gen_server:cast(element(Turn, Workers), Message),
    send(I - 1, Kind, Workers, Turn rem tuple_size(Workers) + 1).

cast(Producers, WorkerCount, Kind) ->
    Share = scaled(1000000) div Producers,
    Count = Share * Producers,
    Sum = case Kind of
              plain -> 0;
              payload -> Producers * (Share * (Share + 1) div 2 + 5 * Share)
          end,
    Workers = open(WorkerCount),
    {Cpu, _} = erlang:statistics(runtime),
    Begin = now_ns(),
    Senders = [spawn_monitor(fun() -> send(Share, Kind, Workers, 1) end)
               || _ <- lists:seq(1, Producers)],
    [receive {'DOWN', Ref, process, _, normal} -> ok end
     || {_, Ref} <- Senders],
    check(Workers, Count, Sum),
    End = now_ns(),
    {CpuAfter, _} = erlang:statistics(runtime),
    report("rate", Count * 1.0e3 / (End - Begin), "M/s"),
    report("cpu", (CpuAfter - Cpu) * 1.0e6 / Count, "ns").

ask(I, Share, _, _, Latency, Last) when I > Share -> {Latency, Last};
ask(I, Share, Workers, Turn, Latency, Last) ->
    Expected = I + 1,
    Expected = gen_server:call(element(Turn, Workers), {add_one, I}, infinity),
    Now = now_ns(),
    ask(I + 1, Share, Workers, Turn rem tuple_size(Workers) + 1,
        [Now - Last | Latency], Now).

call(Clients, Repetitions) ->
    Share = scaled(Repetitions) div Clients,
    Workers = open(2),
    Self = self(),
    Begin = now_ns(),
    [spawn_link(fun() ->
                    {Latency, _} = ask(1, Share, Workers, 1, [], now_ns()),
                    Self ! {asked, now_ns(), Latency}
                end) || _ <- lists:seq(1, Clients)],
    Answers = [receive {asked, End, Latency} -> {End, Latency} end
               || _ <- lists:seq(1, Clients)],
    End = lists:max([E || {E, _} <- Answers]),
    check(Workers, Share * Clients, 0),
    report("rate", Share * Clients * 1.0e6 / (End - Begin), "k/s"),
    percentiles(lists:append([Latency || {_, Latency} <- Answers]),
                [{"p50", 0.5}, {"p99", 0.99}, {"p999", 0.999}]).

wake() ->
    Count = trunc(2000 * get(scale)),
    Workers = open(2),
    {Cpu, _} = erlang:statistics(runtime),
    Begin = now_ns(),
    Delays = [wake_one(I, Begin, Workers) || I <- lists:seq(1, Count)],
    End = now_ns(),
    {CpuAfter, _} = erlang:statistics(runtime),
    check(Workers, Count, 0),
    percentiles(Delays, [{"p50", 0.5}, {"p99", 0.99}]),
    report("cpu", (CpuAfter - Cpu) * 1.0e8 / (End - Begin), "%").

%% Timers have a resolution of a millisecond here, so lateness says nothing.
wake_one(I, Begin, Workers) ->
    Intended = Begin + I * 1000000,
    receive after max(0, (Intended - now_ns()) div 1000000) -> ok end,
    gen_server:cast(element(I rem tuple_size(Workers) + 1, Workers),
                    {timed, now_ns(), self()}),
    receive {delay, Delay} -> Delay end.

queue_memory() ->
    Count = scaled(1000000),
    Before = resident(),
    Workers = open(1),
    sys:suspend(element(1, Workers)),
    send(Count, plain, Workers, 1),
    report("resident", (resident() - Before) / Count, "B"),
    sys:resume(element(1, Workers)),
    check(Workers, Count, 0).

worker_memory() ->
    Count = 10000, % processes are small: 64 of them cannot be seen
    Before = resident(),
    Workers = open(Count),
    report("resident", (resident() - Before) / 1024 / Count, "kB"),
    check(Workers, 0, 0).

run("cast_1_1") -> cast(1, 1, plain);
run("cast_1_2") -> cast(1, 2, plain);
run("cast_1_4") -> cast(1, 4, plain);
run("cast_2_2") -> cast(2, 2, plain);
run("cast_4_4") -> cast(4, 4, plain);
run("cast_payload") -> cast(1, 2, payload);
run("call_1") -> call(1, 200000);
run("call_1_together") -> call(1, 200000); % by the runner's mask
run("call_8") -> call(8, 200000);
run("call_64") -> call(64, 200000);
run("wake") -> wake();
run("queue_memory") -> queue_memory();
run("worker_memory") -> worker_memory();
run(_) -> halt(77).

main([Workload]) -> main([Workload, "1.0"]);
main([Workload, Scale]) ->
    put(workload, Workload),
    put(scale, case string:to_float(Scale) of
                   {error, _} -> float(list_to_integer(Scale));
                   {Number, _} -> Number
               end),
    try run(Workload) of
        _ -> halt(0, [{flush, true}])
    catch
        Class:Reason:Stack ->
            io:format(standard_error, "erlang: ~p ~p ~p~n",
                      [Class, Reason, Stack]),
            halt(1)
    end;
main(_) ->
    io:format(standard_error, "usage: pool_erlang WORKLOAD [SCALE]~n", []),
    halt(2).
