"""Every limit of time and every rule about trying again, with unit, default and reason; all times in seconds.

None of them decides a result: a result that came is the same under any limit. So they are not part of identities
(see `harness.sources.LEFT_OUT`). Rules that do decide what is measured stand in `harness.specs.rules`.
"""

from __future__ import annotations

# The driver's loop

POOL_POLL_SECONDS = 0.5
"""The longest wait for events of the pool; so often the screen is drawn at least."""
HEARTBEAT_SECONDS = 30.0
"""Where there is no terminal, a line about the run comes at least this often."""
DRAW_SECONDS = 0.25
"""A terminal is redrawn so often: some milliseconds each, in the driver's process, where no timing runs."""
WATCH_SECONDS = 1.0
"""Where there is no terminal, so often a thread looks whether a line is due."""
PHASE_SECONDS = 2.0
"""There, what is done before the first trial is named once it takes so long."""
NOTEBOOK_SECONDS = 1.0
"""A notebook's bar is drawn at most this often."""
TIME_LEFT_SECONDS = 1.0
"""How often the time left is taken anew."""
LIVE_REPORT_SECONDS = 15.0
"""While a run goes on, its page is rebuilt, and read by a browser, at most this often."""
JOURNAL_GROUP_SECONDS = 0.1
"""Results of units are written out together after so long; a kill loses what is younger."""

# Trying again

DEADLINE_SECONDS = 3600.0
"""The longest that one unit of a task may take, where the suite names no other limit."""

RETRIES = {"inputs-lost": 2, "out-of-memory": 1, "folder-gone": 2}
"""How often a unit is tried again after a failure that may not be its own; never with a smaller batch."""
OWN_DEATHS = 3
"""So many workers that die of one unit, while none of another task dies, are the unit's own failure."""
CLOSE_SECONDS = 10.0
"""Deaths so close together, of different tasks, are the machine's or the scheduler's: preemption, a lost node."""
MOST_DEATHS = 20
"""So many deaths of one unit end it, whatever else died."""
COME_BACK_SECONDS = 120.0
"""So long a task waits for devices that were there and are gone, such as a spot instance that comes back."""
STRAGGLES_AFTER, STRAGGLES_SECONDS = 2.0, 10.0
"""A unit that runs so many times the median of its task, and so much longer, runs once more on an idle worker."""

# Devices kept free for a unit on several

GATHER_SECONDS = 60.0
"""So long idle devices wait for further ones; where it takes longer, as for a training, others get them."""

# Hosts kept free for timing

LANE_GAP_SECONDS, LEAST_LANE_GAP_SECONDS = 30.0, 4.0
"""On one host, so long between two turns of timing while other work is left: the less, the less waiting cost."""
LANE_GAP_PER_IDLE_SECOND = 20.0
"""The gap after a turn in which so many device-seconds were lost to waiting; between the two above."""
MOST_LANE_GAP_SECONDS = 600.0
"""The gap doubles up to this after a turn that found no devices."""
LANE_IDLE_SHARE = 0.1
"""It ends sooner, with what the turn waited for, while at most this share of the devices' time was lost so."""
LANE_DRAIN_SECONDS = 10.0
"""So long a turn waits for idle devices, or twice a usual unit if that is longer.

Where it takes longer, as for a training, the turn is put off for twice the gap.
"""

# Ray

CLUSTER_POLL_SECONDS = 0.5
"""How often the cluster is probed; Ray ends this process some seconds after it stops."""
CLUSTER_POLL_AGAIN_SECONDS = 0.3
"""The same after a failed probe."""
MOST_FAILED_POLLS = 3
"""Consecutive looks without an answer after which the cluster counts as lost."""
CLUSTER_CONNECT_SECONDS = 2.0
"""The longest wait for one answer of the cluster."""
RAY_WAIT_SECONDS, RAY_BUSY_SECONDS = 0.5, 0.05
"""The longest wait for Ray at once; less while actors start or values are fetched in the background."""
CHECK_OVERDUE_SECONDS = 0.25
"""How often to look for units past their limit."""
PEER_DEATH_WAIT_SECONDS = 5.0
"""How long to wait for the death of a rank after another rank failed, to name the first cause."""
IMPORT_SECONDS = 30.0
"""So long a worker that was created is taken to import modules, on a host that is not known yet."""
START_SECONDS = 120.0
"""So long a run waits for all workers; then it begins with those that are there, or goes on waiting for the first."""
START_REPORT_SECONDS = 30.0
"""How often to say that actors are still starting."""
RAY_START_SECONDS = 90.0
"""The longest that one try to start Ray here may take; on an idle machine it takes 5 to 15."""
RAY_START_TRIES = 3
"""So often Ray is started here before a run gives up."""
RAY_PAUSE_SECONDS = 2.0
"""The pause between two tries."""
RAY_END_SECONDS = 10.0
"""The longest wait for a Ray that was started here to end by itself."""
START_POLL_SECONDS = 1.0
"""The longest wait for an actor at once while nothing else goes on."""
GROUP_SECONDS = 10.0
"""So long a run that takes a part of a cluster waits for devices that are close to each other."""
REFILL_SECONDS = 60.0
"""How often to look for devices that have come back."""
REFILL_AFTER_DEATH_SECONDS = (10.0, 30.0, 60.0)
"""The same after a death: Ray knows later of a lost node than of what ran there."""

# Workers

WORKER_PROGRESS_SECONDS = 1.0
"""A worker sends its progress at most this often."""
LEFTOVER_GRACE_SECONDS, LEFTOVER_END_SECONDS = 0.25, 1.0
"""So long a thread or process of a unit may take to end by itself, and to end when it is stopped."""
LEFTOVER_POLL_SECONDS = 0.01
"""How often to look whether it has."""

# Between the ranks of one sample

MEETING_SECONDS, MEETING_SHARE = 120.0, 0.25
"""Ranks wait for each other to join a group: so long, and at most this share of the task's deadline."""
DEEPSPEED_START_SECONDS = 600.0
"""The longest wait for the process group of a training."""
PROGRESS_SECONDS = 1.0
"""At least so long between two messages about the progress of a training."""
CHECKPOINT_SECONDS = 30.0
"""How often the state of what a method trains is kept: what a kill costs at most."""

# The known-answer check

TIMED_SLEEP_SECONDS = 0.02
"""A sleep so long is timed, to compare the timer with another clock."""

# The check of a method

CHECK_WORKER_SECONDS = 120.0
"""The longest wait for the images of one of the two processes that make a method's images again."""

# Other programs

LOAD_WINDOW_SECONDS = 0.5
"""So long other programs' CPU time is watched, to say whether the machine is busy."""
GIT_SECONDS = 10.0
"""The longest wait for one answer of git; without one the row names no commit."""
STACK_DUMP_SECONDS = 10.0
"""The longest wait for the stack of a worker that is past its limit."""

# A results folder

LOCK_BEAT_SECONDS = 5.0
"""How often the holder of a folder's lock renews it."""
MISSED_BEATS = 10
"""A lock that missed so many renewals has lost its holder."""

# Jobs on a cluster

JOB_POLL_SECONDS = 1.0
"""How often to poll the state of a job while its log is silent, and the pause before submitting again."""
DASHBOARD_SECONDS = 10.0
"""The longest silence of a dashboard before the first answer."""
JOB_READY_SECONDS = 60.0
"""How long submitting a job is tried again on a busy cluster."""
STORAGE_SYNC_SECONDS = 30.0
"""With --storage, so often what is new is copied there: what a lost head costs at most, of rows and checkpoints."""
MOST_FAILED_JOB_POLLS = 10
"""Consecutive failed polls after which contact with a job counts as lost."""

# Trainings of new suites

NEW_TRAINING_SECONDS = 120.0
"""A new suite for pictures that no network of the zoo knows trains a small network about so long."""

# Trainings of the zoo

TRAINING_POLL_SECONDS = 1.0
"""How often to look whether a training has ended, and how often one that is paused looks whether it may go on."""
TRAINING_SAVE_SECONDS = 30.0
"""How often a training's state is kept: what a kill costs at most."""
TRAINING_CHUNK_SECONDS = 1.0
"""About so long a training goes on between two looks at the clock."""
TRAINING_STOPPED_SECONDS = 30.0
"""A chunk that took longer and worked a quarter of it at most was stopped from outside; it does not measure speed."""
TRAINING_END_SECONDS = 120.0
"""The longest wait for a training to keep its state and end before it is killed."""
TRAINING_LOCK_BEAT_SECONDS = 86_400.0
"""The lock of a training is known by its process alone: one that is paused renews nothing."""

# Importers

SEALED_READ_SECONDS = 600.0
"""The longest that a foreign pickle may take to read in its process, by the clock and by the processor."""

# Fetching published files

FETCH_CONNECT_SECONDS = 20.0
"""The longest wait for a host to accept a connection."""
FETCH_SILENCE_SECONDS = 60.0
"""A transfer that sends nothing for so long has broken off."""
FETCH_TRIES = 5
"""So often one fetch goes on with a transfer that broke off, each time after more bytes; then it ends."""

# The check of a GPU machine

CHECK_TESTS_SECONDS = 420.0
"""The longest that the tests marked `cuda` may take together."""
CHECK_CALLS_SECONDS = 240.0
"""The longest that calls of networks by themselves may take; those that are timed by then count."""
CHECK_SUITE_SECONDS = 300.0
"""The longest that the suite may take in one mode; the same command goes on where it was stopped."""
CHECK_REHEARSAL_SUITE_SECONDS = 900.0
"""The same of the rehearsal, which compiles on a CPU that may do other work too; two minutes where it does none."""
CHECK_TRAINING_SECONDS = 480.0
"""So long the trainings that the zoo lacks run side by side on a GPU."""
CHECK_REHEARSAL_TRAINING_SECONDS = 60.0
"""So long the rehearsal's small training runs on a CPU."""
CHECK_LAST_SECONDS = 240.0
"""So long a training may take after its time to judge and keep its weights, before it is interrupted."""
CHECK_STOP_SECONDS = 30.0
"""So long a process that was interrupted may take to end before it is killed."""
CHECK_ANSWER_SECONDS = 10.0
"""The longest wait for one answer of `nvidia-smi`."""
