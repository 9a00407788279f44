//! Plots as SVG: bars for workloads, lines for what grows. Thin strokes are lowest to highest.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::cluster::System;
use crate::compare::Results;
use crate::figures::{Figure, Row, Spread, Table};

const SIZE: (u32, u32) = (760, 380);
const RAFTERY: RGBColor = RGBColor(0xc2, 0x4d, 0x1f);
const ETCD: RGBColor = RGBColor(0x2f, 0x6f, 0xa8);
const SYSTEMS: [(&str, RGBColor); 2] = [("raftery", RAFTERY), ("etcd", ETCD)];
/// The axis goes so far beyond the highest value: the key stands there.
pub(super) const HEADROOM: f64 = 1.25;
/// Half of a bar's width; subjects are 1 apart.
const HALF_BAR: f64 = 0.18;

type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A plot that was written.
pub(super) struct Drawn {
    /// Name of its file.
    pub(super) file: String,
    /// What it shows.
    pub(super) title: String,
}

/// The colour of a system, the same in all plots.
pub(super) fn color_of(system: System) -> RGBColor {
    match system {
        System::Raftery => RAFTERY,
        System::Etcd => ETCD,
    }
}

/// Draws everything into the directory.
pub(super) fn all(results: &Results, directory: &Path) -> Result<Vec<Drawn>> {
    let mut wanted = vec![
        (
            "throughput",
            "Operations a second",
            &results.workloads,
            Figure::PerSecond,
        ),
        (
            "p99",
            "99th percentile of the latency",
            &results.workloads,
            Figure::P99,
        ),
        (
            "cpu",
            "Servers' CPU time for one operation",
            &results.workloads,
            Figure::ServerCpu,
        ),
    ];
    if let Some(growth) = &results.growth {
        wanted.extend([
            (
                "keys",
                "Puts a second over so many keys of 1 KiB",
                &growth.keys,
                Figure::PerSecond,
            ),
            (
                "keys-memory",
                "Memory of three members with so many keys",
                &growth.keys,
                Figure::Memory,
            ),
            (
                "keys-restart",
                "Restart of a member with so many keys",
                &growth.keys,
                Figure::Restart,
            ),
            (
                "members",
                "Puts a second with so many members",
                &growth.members,
                Figure::PerSecond,
            ),
            (
                "callers",
                "Puts a second from so many callers",
                &growth.callers,
                Figure::PerSecond,
            ),
            (
                "callers-p99",
                "99th percentile of a put's latency with so many callers",
                &growth.callers,
                Figure::P99,
            ),
        ]);
    }
    let mut drawn = Vec::new();
    for (name, title, table, figure) in wanted {
        let file = format!("{name}.svg");
        let is_line = !std::ptr::eq(table, &results.workloads);
        draw(&directory.join(&file), title, table, figure, is_line)
            .map_err(|error| anyhow!("drawing {file}: {error}"))?;
        drawn.push(Drawn {
            file,
            title: title.to_owned(),
        });
    }
    Ok(drawn)
}

pub(super) type Failure = DrawingAreaErrorKind<std::io::Error>;

fn draw(
    file: &Path,
    title: &str,
    table: &Table,
    figure: Figure,
    is_line: bool,
) -> Result<(), Failure> {
    let rows: Vec<&Row> = table
        .rows
        .iter()
        .filter(|row| row.figure == figure)
        .collect();
    let area: DrawingArea<SVGBackend, Shift> = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let values = rows
        .iter()
        .flat_map(|row| row.raftery.iter().chain(&row.etcd));
    let highest = values.copied().fold(0.0, f64::max).max(1e-9);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(84)
        .build_cartesian_2d(-0.5..rows.len() as f64 - 0.5, 0.0..highest * HEADROOM)?;
    let subject = |place: &f64| {
        let is_whole = (place - place.round()).abs() < 1e-6;
        let row = is_whole.then(|| rows.get(place.round() as usize)).flatten();
        row.map_or_else(String::new, |row| row.subject.clone())
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(rows.len() * 2 + 1)
        .x_desc(&table.subjects[..])
        .x_label_formatter(&subject)
        .y_label_formatter(&|value| figure.show(*value))
        .draw()?;
    for (place, (name, color)) in SYSTEMS.into_iter().enumerate() {
        let spreads: Vec<(f64, Spread)> = rows
            .iter()
            .enumerate()
            .filter_map(|(x, row)| {
                let values = if place == 0 { &row.raftery } else { &row.etcd };
                Some((x as f64, Spread::of(values)?))
            })
            .collect();
        if is_line {
            lines(&mut chart, &spreads, name, color)?;
        } else {
            let shift = if place == 0 { -HALF_BAR } else { HALF_BAR };
            bars(&mut chart, &spreads, shift, name, color)?;
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()
}

fn lines(
    chart: &mut Chart,
    spreads: &[(f64, Spread)],
    name: &str,
    color: RGBColor,
) -> Result<(), Failure> {
    let medians = spreads.iter().map(|(x, spread)| (*x, spread.median));
    chart
        .draw_series(LineSeries::new(medians.clone(), color.stroke_width(2)))?
        .label(name)
        .legend(move |at| key(at, color));
    chart.draw_series(medians.map(|at| Circle::new(at, 4, color.filled())))?;
    strokes(chart, spreads, 0.0, color)
}

fn bars(
    chart: &mut Chart,
    spreads: &[(f64, Spread)],
    shift: f64,
    name: &str,
    color: RGBColor,
) -> Result<(), Failure> {
    let bars = spreads.iter().map(|(x, spread)| {
        let (left, right) = (x + shift - HALF_BAR, x + shift + HALF_BAR);
        Rectangle::new(
            [(left, 0.0), (right, spread.median)],
            color.mix(0.85).filled(),
        )
    });
    chart
        .draw_series(bars)?
        .label(name)
        .legend(move |at| key(at, color));
    strokes(chart, spreads, shift, BLACK)
}

fn strokes(
    chart: &mut Chart,
    spreads: &[(f64, Spread)],
    shift: f64,
    color: RGBColor,
) -> Result<(), Failure> {
    let strokes = spreads.iter().map(|(x, spread)| {
        PathElement::new(
            vec![(x + shift, spread.min), (x + shift, spread.max)],
            color,
        )
    });
    chart.draw_series(strokes)?;
    Ok(())
}

fn key((x, y): (i32, i32), color: RGBColor) -> Rectangle<(i32, i32)> {
    Rectangle::new([(x, y - 5), (x + 14, y + 5)], color.filled())
}
