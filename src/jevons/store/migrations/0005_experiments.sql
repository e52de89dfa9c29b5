-- The draw of the experiment, newest last: tasks that began before it are not in it. The salt decides every task's arm,
-- so it is no caller's to know.

CREATE TABLE experiments (
    number INTEGER NOT NULL PRIMARY KEY,
    salt TEXT NOT NULL,
    started REAL NOT NULL,
    who TEXT NOT NULL
) STRICT;

INSERT INTO counters (name, next) VALUES ('experiment', 1);

-- Levers that a plan's experiment has proven to cost more than they save: they act no more until another draw begins.

CREATE TABLE switched_off (
    experiment INTEGER NOT NULL REFERENCES experiments (number),
    plan TEXT NOT NULL,
    lever TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (experiment, plan, lever)
) STRICT, WITHOUT ROWID;

-- What each lever is credited with (modelled), summed like rollups: the lines of a bucket and series add up to the
-- baseline_nano - compared_cost_nano of the same bucket and series in rollups.

CREATE TABLE credits (
    grain INTEGER NOT NULL,             -- seconds: 3600, 86400
    bucket INTEGER NOT NULL,            -- Unix seconds at which the bucket starts
    series INTEGER NOT NULL REFERENCES series (id),
    line TEXT NOT NULL,                 -- a lever's name; own:ROLE; asked-model; rest
    calls INTEGER NOT NULL,
    nano INTEGER NOT NULL,              -- negative where a lever cost more than it saved
    PRIMARY KEY (grain, bucket, series, line)
) STRICT, WITHOUT ROWID;
