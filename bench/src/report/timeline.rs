//! Operations a second around a fault, the systems under each other.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::plot::{Failure, HEADROOM, color_of};
use crate::faults::results::{CaseResult, Outcome};
use crate::figures::with_thousands;

const WIDTH: u32 = 760;
/// Of one system.
const HEIGHT: u32 = 170;
/// Of the caption.
const CAPTION_HEIGHT: u32 = 36;
const FAULT: RGBColor = RGBColor(0xb0, 0x12, 0x12);
const HEALED: RGBColor = RGBColor(0x2d, 0x7d, 0x32);
const LEADER: RGBColor = RGBColor(0x30, 0x3f, 0x9f);
const PENALTY: RGBColor = RGBColor(0xe6, 0x7e, 0x00);

/// Draws a case into that file.
pub(super) fn draw(file: &Path, result: &CaseResult) -> Result<(), Failure> {
    let drawn: Vec<&Outcome> = result.outcomes.iter().collect();
    let height = CAPTION_HEIGHT + HEIGHT * drawn.len() as u32;
    let area: DrawingArea<SVGBackend, Shift> =
        SVGBackend::new(file, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let area = area.titled(result.case.title(), ("sans-serif", 18))?;
    // The same axes for all: they are to be compared.
    let ends = drawn.iter().map(|outcome| &outcome.timeline);
    let from = ends.clone().map(|line| line.from).fold(0.0, f64::min);
    let to = ends.map(|line| line.from + line.width * line.rates.len() as f64);
    let to = to.fold(from + 1.0, f64::max);
    let rates = drawn.iter().flat_map(|outcome| &outcome.timeline.rates);
    let highest = rates.copied().fold(1.0, f64::max) * HEADROOM;
    for (part, outcome) in area.split_evenly((drawn.len(), 1)).iter().zip(drawn) {
        draw_one(part, outcome, from..to, highest)?;
    }
    area.present()
}

fn draw_one(
    area: &DrawingArea<SVGBackend, Shift>,
    outcome: &Outcome,
    times: std::ops::Range<f64>,
    highest: f64,
) -> Result<(), Failure> {
    let timeline = &outcome.timeline;
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .margin_right(16)
        .x_label_area_size(24)
        .y_label_area_size(64)
        .build_cartesian_2d(times.clone(), 0.0..highest)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .y_labels(4)
        .y_desc("puts/s")
        .x_label_formatter(&|second| format!("{second:.0} s"))
        .y_label_formatter(&|rate| with_thousands(rate.round() as u64))
        .draw()?;
    let color = color_of(outcome.contender.system());
    let bars = timeline.rates.iter().enumerate().map(|(place, rate)| {
        let left = timeline.from + place as f64 * timeline.width;
        let corners = [(left, 0.0), (left + timeline.width, *rate)];
        Rectangle::new(corners, color.mix(0.75).filled())
    });
    chart.draw_series(bars)?;
    let mut marks = vec![(0.0, FAULT, String::new())];
    marks.extend(timeline.healed.map(|at| (at, HEALED, String::new())));
    let leaders = timeline.leaders.iter();
    marks.extend(leaders.map(|(at, name)| (*at, LEADER, name.clone())));
    for (at, color, name) in marks {
        let line = vec![(at, 0.0), (at, highest * 0.92)];
        chart.draw_series([PathElement::new(line, color.stroke_width(1))])?;
        let style = ("sans-serif", 12).into_font().color(&color);
        let label = Text::new(name, (at, highest * 0.99), style);
        chart.draw_series([label])?;
    }
    let penalties = timeline.penalties.iter();
    let marks = penalties.filter(|(at, _)| times.contains(at));
    let marks = marks.map(|(at, name)| {
        EmptyElement::at((*at, highest * 0.06))
            + TriangleMarker::new((0, 0), 5, PENALTY.filled())
            + Text::new(
                name.clone(),
                (-6, -18),
                ("sans-serif", 9).into_font().color(&PENALTY),
            )
    });
    chart.draw_series(marks)?;
    let title = outcome.contender.title();
    let style = ("sans-serif", 14).into_font().color(&color);
    chart.draw_series([Text::new(title, (times.start, highest * 0.99), style)])?;
    Ok(())
}
