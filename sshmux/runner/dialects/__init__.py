"""The languages of batch schedulers: what is asked, and what the answers mean. All pure."""
