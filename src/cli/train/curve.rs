//! The loss curve of a run, drawn from its log.

use crate::cli::plot::{Chart, Figure, Series, Style};

/// Most points of the training curve: each is the mean of several log lines.
const POINTS: usize = 200;

/// Loss of the training batches, of fixed training crops and of the validation crops over the steps, from the
/// text of a `log.tsv`. Lines of another form are left out.
pub(super) fn figure(log: &str) -> Figure {
    let training = means(&losses(log, "train"));
    let validation = validation_means(&losses(log, "valid"));
    let seen = validation_means(&losses(log, "seen"));
    let series = |name: &str, color, style, points| Series {
        name: name.to_owned(),
        color,
        style,
        points,
    };
    Figure {
        charts: vec![Chart {
            title: "Loss".to_owned(),
            across: "steps".to_owned(),
            label: "rate-distortion loss".to_owned(),
            series: vec![
                series("training batches", [173, 181, 189], Style::Trace, training),
                series("fixed training crops", [240, 140, 50], Style::Main, seen),
                series("validation crops", [11, 107, 203], Style::Main, validation),
            ],
        }],
    }
}

/// (step, loss) of the lines of one kind.
fn losses(log: &str, kind: &str) -> Vec<(f64, f64)> {
    let line = |line: &str| {
        let mut fields = line.split('\t');
        (fields.next()? == kind).then_some(())?;
        let (step, loss) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some((step, loss))
    };
    log.lines().filter_map(line).collect()
}

/// Means of runs of points, at most [`POINTS`] of them.
fn means(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let run = points.len().div_ceil(POINTS).max(1);
    points.chunks(run).map(mean).collect()
}

/// One point per step: a validation logs a line per quality.
fn validation_means(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    points.chunk_by(|a, b| a.0 == b.0).map(mean).collect()
}

fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    let sum = points
        .iter()
        .fold((0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1));
    (sum.0 / n, sum.1 / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_follow_the_log_and_leave_out_what_is_no_line_of_it() {
        let log = "kind\tstep\tloss\ntrain\t20\t9.5\t1\ntrain\t40\t8.5\t1\nseen\t40\t6.0\t0.1\n\
                   valid\t40\t7.0\t0.1\nvalid\t40\t9.0\t0.5\ntrain\t60";
        let chart = &figure(log).charts[0];
        assert_eq!(chart.series[0].points, [(20.0, 9.5), (40.0, 8.5)]);
        assert_eq!(chart.series[1].points, [(40.0, 6.0)]);
        assert_eq!(chart.series[2].points, [(40.0, 8.0)]);
    }

    #[test]
    fn long_logs_are_averaged() {
        let log: String = (1..=1000).map(|i| format!("train\t{i}\t{i}\n")).collect();
        let points = &figure(&log).charts[0].series[0].points;
        assert_eq!((points.len(), points[0]), (POINTS, (3.0, 3.0)));
    }
}
