# Constraints of firstspike, for synthesis and layout. One clock; all ports belong to it.
set period @PERIOD@
create_clock -name clk -period $period [get_ports clk]
set_clock_uncertainty [expr 0.05 * $period] [get_clocks clk]
set inputs [all_inputs]
set index [lsearch $inputs [get_ports clk]]
if {$index >= 0} { set inputs [lreplace $inputs $index $index] }
set_input_delay  [expr 0.3 * $period] -clock clk $inputs
set_output_delay [expr 0.3 * $period] -clock clk [all_outputs]
# rst is synchronous: it is timed like any input. Nothing crosses clocks; there are no false or multicycle paths.
