# The picture of a soak, of the CSV files in `dir`:
#
#   gnuplot -e "dir = 'build/soak'; heading = '...'; window = 300; duration = 3600" tests/soak/picture.gp
#
# `duration` and `window`, the length of what the verdict compares, are in seconds. With format = 'png' it is no SVG.

if (!exists("format")) format = "svg"
if (format eq "png") {
    set terminal pngcairo size 1400,1800 enhanced font "DejaVu Sans,11" background "#ffffff"
    title_font = ",13"
} else {
    set terminal svg size 1400,1800 enhanced font "DejaVu Sans,14" background "#ffffff"
    title_font = ",17"
}
set output dir."/soak.".format
set datafile separator ","
set encoding utf8
set style data lines

# One colour for one process, in all panels.
array group[6] = ["fcgi-app", "procd", "runners", "guard", "nginx", "terminal"]
array colour[6] = ["#0072b2", "#e69f00", "#009e73", "#7f7f7f", "#cc79a7", "#d55e00"]

minutes = duration / 60.0
set xrange [0:minutes]
set yrange [0:*]
set xlabel "minutes" offset 0,0.5
set ylabel offset 1,0
set grid ytics linecolor "#dddddd" linetype 1
set border 3 linecolor "#888888"
set tics nomirror out scale 0.5 textcolor "#333333"
set key at graph 0,1.15 left top horizontal Left reverse samplen 1.5 noautotitle noenhanced

# The windows that are compared.
set object 1 rectangle from window / 60.0, graph 0 to 2 * window / 60.0, graph 1 fillcolor "#eef3f8" fillstyle noborder behind
set object 2 rectangle from minutes - window / 60.0, graph 0 to minutes, graph 1 fillcolor "#eef3f8" fillstyle noborder behind

held = dir."/held.csv"
memory = dir."/memory.csv"
traffic = dir."/traffic.csv"
latency = dir."/latency.csv"
x = "(column('seconds') / 60)"

set multiplot layout 4,2 title heading noenhanced font title_font margins 0.06,0.97,0.035,0.915 spacing 0.09,0.08

# From a guard of 0.1 MiB to an nginx of 50: on a logarithmic scale what grows rises in all of them.
set logscale y
set yrange [0.05:*]
set label 1 "Memory: proportional set size" at graph 0,1.18 left font title_font
set ylabel "MiB"
plot for [i = 1:5] memory using @x:(column(group[i].".pss") / 1024) linecolor rgb colour[i] linewidth 1.5 title group[i]

set label 1 "Memory: private and dirty" at graph 0,1.18 left font title_font
plot for [i = 1:5] memory using @x:(column(group[i].".dirty") / 1024) linecolor rgb colour[i] linewidth 1.5 title group[i]

unset logscale y
set yrange [0:*]
set label 1 "Open descriptors" at graph 0,1.18 left font title_font
set ylabel "descriptors"
plot for [i = 1:5] held using @x:(column(group[i].".descriptors")) linecolor rgb colour[i] title group[i]

set label 1 "Threads of fcgi-app, and processes" at graph 0,1.18 left font title_font
set ylabel "number"
plot held using @x:(column("fcgi-app.threads")) linecolor rgb colour[1] title "threads of fcgi-app", \
     held using @x:(column("runners.processes")) linecolor rgb colour[3] title "runners", \
     held using @x:(column("commands.processes")) linecolor rgb "#d55e00" title "processes of commands"

set label 1 "Run directory" at graph 0,1.18 left font title_font
set ylabel "MiB"
set y2tics
set y2range [0:*]
set border 11
plot held using @x:(column("disk") / 1024) linecolor rgb "#0072b2" linewidth 1.5 title "MiB", \
     held using @x:(column("entries")) axes x1y2 linecolor rgb "#e69f00" linewidth 1.5 title "files and directories, on the right"
unset y2tics
set border 3

set label 1 "Latency of /run true" at graph 0,1.18 left font title_font
set ylabel "ms"
plot latency using @x:(column("p50")) linecolor rgb "#0072b2" linewidth 1.5 title "median", \
     latency using @x:(column("p99")) linecolor rgb "#d55e00" linewidth 1.5 title "p99"

set label 1 "Answers" at graph 0,1.18 left font title_font
set ylabel "a second"
plot traffic using @x:(column("2xx")) linecolor rgb "#009e73" title "2xx", \
     traffic using @x:(column("4xx")) linecolor rgb "#e69f00" title "4xx, asked for", \
     traffic using @x:(column("499")) linecolor rgb "#7f7f7f" title "the client hung up", \
     traffic using @x:(column("5xx")) linecolor rgb "#d50000" linewidth 2 title "5xx"

set label 1 "The machine" at graph 0,1.18 left font title_font
set ylabel "% of all processors"
set yrange [0:100]
plot traffic using @x:(column("busy")) linecolor rgb "#0072b2" title "busy, with the clients of the test"
unset multiplot
