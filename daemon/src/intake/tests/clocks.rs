//! A wall clock that is wrong by anything up to ten years, while the daemon runs and at its start. Too
//! old to accept and too old to serve are asked of it one by one; no answer costs a file.

use super::*;

const SECOND: u64 = 1_000;
const HOUR: u64 = 60 * MINUTE;
const TEN_YEARS: u64 = 3_653 * DAY;

/// Every distance at which an answer changes, its neighbours, and ten years: (behind, ahead) of the right
/// time.
fn errors() -> Vec<(u64, u64)> {
    let borders = [0, HOUR, 15 * MINUTE, 3 * DAY];
    let near = borders.into_iter().flat_map(|border| [border.saturating_sub(1), border, border + 1]);
    let all: Vec<u64> = near.chain([MINUTE, DAY, TEN_YEARS]).collect();
    let both = all.iter().map(|by| (*by, 0)).chain(all.iter().map(|by| (0, *by)));
    both.chain([(NOW, 0)]).collect()
}

/// The refusal of an update issued now, by a clock that is this wrong.
fn refusal((behind, ahead): (u64, u64)) -> Option<&'static str> {
    if behind > HOUR {
        return Some("from_the_future");
    }
    (ahead > 15 * MINUTE).then_some("expired")
}

/// How a state is served so long after it was issued.
fn age_after(passed: u64) -> Age {
    match passed {
        ..=900_000 => Age::Fresh,
        900_001..=259_200_000 => Age::Stale,
        _ => Age::Expired,
    }
}

#[test]
fn a_step_of_the_wall_clock_while_running_expires_nothing_and_refuses_only_what_it_must() {
    for error @ (behind, ahead) in errors() {
        let mut world = World::new();
        let mut intake = world.start();
        let one = world.publisher.full(1, greeting("one"));
        intake.take_update(&one).unwrap();
        let wrong = NOW - behind + ahead;
        world.hands.step_wall_to(wrong);
        assert_eq!(
            (world.age(), world.greeting().unwrap()),
            ((Age::Fresh, 0), "one".to_owned()),
            "{error:?}"
        );

        for update in [world.publisher.heartbeat(1, &one), world.publisher.full(2, greeting("two"))] {
            let taken = intake.take_update(&update).err().map(|refused| refused.name());
            assert_eq!(taken, refusal(error), "{error:?}");
        }
        // What was taken meanwhile has the age that it had by the clock it was taken at.
        let (expected, at_first) = if refusal(error).is_none() { ("two", ahead) } else { ("one", 0) };
        let mut passed = 0;
        for passes in [0, 5 * MINUTE, 10 * MINUTE + 1] {
            world.hands.pass(passes);
            passed += passes;
            let age = at_first + passed;
            assert_eq!(world.age(), (age_after(age), age / SECOND), "{error:?}");
            assert_eq!(world.greeting().unwrap(), expected, "{error:?}");
        }

        world.publisher.now_ms = NOW + 15 * MINUTE + 1;
        world.hands.step_wall_to(world.publisher.now_ms);
        intake.take_update(&world.publisher.full(3, greeting("three"))).unwrap();
        assert_eq!(
            (world.age(), world.greeting().unwrap()),
            ((Age::Fresh, 0), "three".to_owned()),
            "{error:?}"
        );
        assert!(world.set_aside().is_empty() && world.alarms().is_empty(), "{error:?}");
    }
}

#[test]
fn a_start_at_the_wrong_time_ages_what_is_kept_and_costs_nothing_once_the_clock_is_right() {
    for error @ (behind, ahead) in errors() {
        let mut world = World::new();
        let mut intake = world.start();
        intake.take_update(&world.publisher.full(1, greeting("one"))).unwrap();
        let before = world.image();
        world.hands.step_wall_to(NOW - behind + ahead);
        let mut intake = world.start();
        // Where the clock is behind the newest time that a signer has vouched for, that time counts.
        let age = age_after(ahead);
        assert_eq!(world.age(), (age, ahead / SECOND), "{error:?}");
        match age {
            Age::Fresh | Age::Stale => assert_eq!(world.greeting().unwrap(), "one", "{error:?}"),
            Age::Expired => {
                assert!(matches!(world.greeting(), Err(Unservable::SnapshotExpired { .. })), "{error:?}");
            }
        }
        let two = world.publisher.full(2, greeting("two"));
        let taken = intake.take_update(&two).err().map(|refused| refused.name());
        assert_eq!(taken, refusal(error), "{error:?}");
        assert!(world.set_aside().is_empty() && world.alarms().is_empty(), "{error:?}");

        world.hands.step_wall_to(NOW);
        if taken.is_some() {
            assert_eq!(world.image(), before, "{error:?}");
            world.start().take_update(&two).unwrap();
        }
        assert_eq!(world.greeting().unwrap(), "two", "{error:?}");
    }
}

#[test]
fn a_clock_that_was_ahead_when_an_update_came_leaves_nothing_behind_that_outlives_it() {
    let mut world = World::new();
    let mut intake = world.start();
    // Both were wrong together, by almost the hour that is taken.
    world.publisher.now_ms = NOW + 59 * MINUTE;
    intake.take_update(&world.publisher.full(1, greeting("ahead"))).unwrap();
    world.publisher.now_ms = NOW + MINUTE;
    world.hands.step_wall_to(world.publisher.now_ms);
    assert_eq!(name(intake.take_update(&world.publisher.full(2, greeting("x")))), "issued_backwards");
    world.pass(58 * MINUTE);
    intake.take_update(&world.publisher.full(2, greeting("right"))).unwrap();
    assert_eq!((world.age(), world.greeting().unwrap().as_str()), ((Age::Fresh, 0), "right"));
}

#[test]
fn without_a_floor_a_wrong_clock_lets_nothing_old_pass_for_recent() {
    for behind in [0, MINUTE, 14 * MINUTE, 15 * MINUTE] {
        let mut world = World::new();
        (world.publisher.fresh_for_ms, world.publisher.serve_for_ms) = (TEN_YEARS, TEN_YEARS);
        let mut intake = world.start();
        let old = world.publisher.full(1, greeting("old"));
        intake.take_update(&old).unwrap();
        world.state.floors().iter().for_each(|copy| fs::remove_file(copy).unwrap());
        world.hands.step_wall_to(NOW + TEN_YEARS - behind);
        let mut intake = world.start();
        assert_eq!(world.greeting(), Err(Unservable::NotReady));
        assert_eq!(name(intake.take_update(&old)), "floor_lost");
        assert_eq!(world.alarms(), ["floor_lost"]);
    }
}

#[test]
fn an_outage_of_thirty_days_is_served_stale_for_as_long_as_the_publisher_allowed() {
    for serve_for in [3 * DAY, 365 * DAY] {
        let mut world = World::new();
        world.publisher.serve_for_ms = serve_for;
        let mut intake = world.start();
        let one = world.publisher.full(1, greeting("one"));
        intake.take_update(&one).unwrap();
        for hour in 1..=30 * 24 {
            world.pass(HOUR);
            if hour % 24 == 0 {
                intake = world.start();
            }
            let expected = if hour * HOUR > serve_for { Age::Expired } else { Age::Stale };
            assert_eq!(world.age(), (expected, hour * HOUR / SECOND), "hour {hour}");
            assert_eq!(world.greeting().is_ok(), expected == Age::Stale, "hour {hour}");
        }
        assert!(world.set_aside().is_empty() && world.alarms().is_empty());
        intake.take_update(&world.publisher.heartbeat(1, &one)).unwrap();
        assert_eq!((world.age(), world.greeting().unwrap().as_str()), ((Age::Fresh, 0), "one"));
    }
}
