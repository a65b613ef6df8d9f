//! What is told to administrators below `/debug/api_priority_and_fairness/`: tables as Kubernetes' servers print them. Of
//! queues only those are listed that hold requests.

use std::time::Instant;

use jiff::Timestamp;

use crate::fairness::Fairness;
use crate::level::State;
use crate::queues::{Details, Executing, Queue, Waiting};

/// The same moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// As calls are told it.
    pub now: Instant,
    /// As people are.
    pub wall: Timestamp,
}

impl Clock {
    /// A moment, in RFC 3339; the zero time of Go for none.
    fn text(self, moment: Option<Instant>) -> String {
        let Some(moment) = moment else { return "0001-01-01T00:00:00Z".to_owned() };
        let ago = self.now.saturating_duration_since(moment);
        self.wall.checked_sub(ago).unwrap_or(self.wall).to_string()
    }
}

/// Rows of cells that are separated by commas and stand below each other: at least eight wide, and one apart.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        // The comma and the space.
        rows.iter().map(|row| row[column].chars().count() + 2).max().unwrap_or_default().max(8)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            if column + 1 == columns {
                out.push_str(cell);
            } else {
                out.push_str(&format!("{:<1$}", format!("{cell},"), widths[column]));
            }
        }
        out.push('\n');
    }
    out
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// Virtual time in seats times seconds.
fn seat_seconds(progress: i128) -> String {
    const NANOS: i128 = 1_000_000_000;
    let sign = if progress < 0 { "-" } else { "" };
    let progress = progress.abs();
    format!("{sign}{}.{:08}ss", progress / NANOS, progress % NANOS / 10)
}

impl Fairness {
    /// A row for each level.
    pub fn dump_levels(&self) -> String {
        let mut rows = vec![row(&[
            "PriorityLevelName",
            "ActiveQueues",
            "IsIdle",
            "IsQuiescing",
            "WaitingRequests",
            "ExecutingRequests",
            "DispatchedRequests",
            "RejectedRequests",
            "TimedoutRequests",
            "CancelledRequests",
        ])];
        for (name, level) in &self.plan().levels {
            let State { queues, is_leaving, .. } = &*level.state();
            let active = queues.active.values().filter(|queue| !queue.waiting.is_empty()).count();
            rows.push(vec![
                name.to_string(),
                active.to_string(),
                queues.is_idle().to_string(),
                is_leaving.to_string(),
                queues.waiting.to_string(),
                queues.executing.len().to_string(),
                queues.tally.dispatched.to_string(),
                queues.tally.rejected.to_string(),
                queues.tally.timed_out.to_string(),
                queues.tally.cancelled.to_string(),
            ]);
        }
        table(&rows)
    }

    /// A row for each queue that holds requests.
    pub fn dump_queues(&self) -> String {
        let mut rows = vec![row(&[
            "PriorityLevelName",
            "Index",
            "PendingRequests",
            "ExecutingRequests",
            "SeatsInUse",
            "NextDispatchR",
            "InitialSeatsSum",
            "MaxSeatsSum",
            "TotalWorkSum",
        ])];
        for (name, level) in &self.plan().levels {
            for (index, queue) in &level.state().queues.active {
                rows.push(queue_row(name, *index, queue));
            }
        }
        table(&rows)
    }

    /// A row for each request, with what it asks for if `detailed`.
    pub fn dump_requests(&self, clock: Clock, detailed: bool) -> String {
        let mut head = row(&[
            "PriorityLevelName",
            "FlowSchemaName",
            "QueueIndex",
            "RequestIndexInQueue",
            "FlowDistingsher",
            "ArriveTime",
            "InitialSeats",
            "FinalSeats",
            "AdditionalLatency",
            "StartTime",
        ]);
        if detailed {
            let more =
                ["UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource"];
            head.extend(row(&more));
        }
        let mut rows = vec![head];
        for level in self.plan().levels.values() {
            let state = level.state();
            for (number, queue) in &state.queues.active {
                for (place, waiting) in queue.waiting.iter().enumerate() {
                    rows.push(waiting_row(clock, *number, place, waiting, detailed));
                }
            }
            let mut executing: Vec<(&u64, &Executing)> = state.queues.executing.iter().collect();
            skiff_ordered::sort_by_key(&mut executing, |(id, executing)| (executing.queue, **id));
            rows.extend(
                executing.into_iter().map(|(_, executing)| executing_row(clock, executing, detailed)),
            );
        }
        table(&rows)
    }
}

fn queue_row(level: &str, index: u32, queue: &Queue) -> Vec<String> {
    // As requests are taken to be served for three milliseconds.
    let work = i128::from(queue.waiting_seats) * 3_000_000;
    vec![
        level.to_owned(),
        index.to_string(),
        queue.waiting.len().to_string(),
        queue.executing.to_string(),
        queue.seats.to_string(),
        seat_seconds(queue.start),
        queue.waiting_seats.to_string(),
        queue.waiting_seats.to_string(),
        seat_seconds(work),
    ]
}

fn waiting_row(clock: Clock, queue: u32, place: usize, waiting: &Waiting, detailed: bool) -> Vec<String> {
    let arrival = &waiting.arrival;
    let mut cells = vec![
        arrival.meter.level.to_string(),
        arrival.meter.schema.to_string(),
        queue.to_string(),
        place.to_string(),
        arrival.flow.clone(),
        clock.text(Some(waiting.arrived)),
        arrival.seats.to_string(),
        "0".to_owned(),
        "0s".to_owned(),
        clock.text(None),
    ];
    if detailed {
        cells.extend(details_cells(&arrival.details));
    }
    cells
}

fn executing_row(clock: Clock, executing: &Executing, detailed: bool) -> Vec<String> {
    let arrival = &executing.arrival;
    let mut cells = vec![
        arrival.meter.level.to_string(),
        arrival.meter.schema.to_string(),
        executing.queue.map_or(-1, i64::from).to_string(),
        "-1".to_owned(),
        arrival.flow.clone(),
        clock.text(Some(executing.arrived)),
        arrival.seats.to_string(),
        "0".to_owned(),
        "0s".to_owned(),
        clock.text(Some(executing.started)),
    ];
    if detailed {
        cells.extend(details_cells(&arrival.details));
    }
    cells
}

fn details_cells(details: &Details) -> [String; 8] {
    let Details { user, verb, path, namespace, name, api_version, resource, subresource } = details.clone();
    [user, verb, path, namespace, name, api_version, resource, subresource]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_below_each_other() {
        let rows = [row(&["PriorityLevelName", "Index", "End"]), row(&["exempt", "0", "x"])];
        assert_eq!(table(&rows), "PriorityLevelName, Index,  End\nexempt,            0,      x\n");
    }

    #[test]
    fn writes_virtual_time() {
        assert_eq!(seat_seconds(1_500_000_000), "1.50000000ss");
        assert_eq!(seat_seconds(-3_000_000), "-0.00300000ss");
    }
}
