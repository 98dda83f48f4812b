"""int8 and fp16 versions of the fp32 graphs, and the measurements that decide which nodes stay in fp32."""
