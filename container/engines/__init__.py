"""Stand-ins for `sglang.launch_server`: SGLang's flags and HTTP surface, with another engine behind them."""
